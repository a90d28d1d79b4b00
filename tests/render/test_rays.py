import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.render import rays
from invertavatar_jax.types import Camera


@pytest.fixture
def camera():
    """Two cameras with rotation, scale, skew and off-centre principal points."""
    generator = np.random.default_rng(0)
    pose = np.tile(np.eye(4), (2, 1, 1))
    for i in range(2):
        rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
        pose[i, :3, :3] = 0.2 * rotation
        pose[i, :3, 3] = generator.normal(size=3)
    k = np.array([[[4.2, 0.1, 0.5], [0, 4.0, 0.45], [0, 0, 1]]] * 2)
    return Camera(jnp.asarray(pose, jnp.float32), jnp.asarray(k, jnp.float32))


@pytest.mark.parametrize(("half_pixel", "offset"), [(False, 0.0), (True, 0.5)])
def test_points_on_a_ray_project_back_onto_its_pixel(camera, half_pixel, offset):
    side = 5
    cast = rays.cast_rays(camera, side, half_pixel=half_pixel)
    for i in range(2):
        pose = np.asarray(camera.world_from_camera[i], np.float64)
        points = np.asarray(cast.origins[i] + 1.7 * cast.directions[i], np.float64)
        seen = (points - pose[:3, 3]) @ np.linalg.inv(pose[:3, :3]).T
        image = seen @ np.asarray(camera.intrinsics[i], np.float64).T
        pixels = image[:, :2] / image[:, 2:] * side
        columns, rows = np.meshgrid(np.arange(side), np.arange(side))
        expected = np.stack([columns, rows], -1).reshape(-1, 2) + offset
        np.testing.assert_allclose(pixels, expected, atol=2e-5)
        assert (seen[:, 2] > 0).all()


def test_directions_have_unit_length(camera):
    cast = rays.cast_rays(camera, 4)
    np.testing.assert_allclose(np.linalg.norm(cast.directions, axis=-1), 1.0, atol=1e-6)


def test_chosen_pixels_get_the_rays_of_the_whole_image(camera):
    whole = rays.cast_rays(camera, 6)
    pixels = jnp.array([[0, 35, 7], [5, 5, 12]])
    some = rays.cast_rays(camera, 6, pixels)
    for i in range(2):
        np.testing.assert_array_equal(some.directions[i], whole.directions[i, pixels[i]])
        np.testing.assert_array_equal(some.origins[i], whole.origins[i, pixels[i]])


def test_rays_start_and_end_about_the_mean_distance(camera):
    near, far = rays.ray_limits(camera, -0.45, 0.6)
    distance = np.linalg.norm(camera.world_from_camera[:, :3, 3], axis=-1).mean()
    np.testing.assert_allclose([near, far], [distance - 0.45, distance + 0.6], rtol=1e-6)
