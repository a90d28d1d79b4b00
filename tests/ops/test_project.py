"""Perspective projection against the cameras' own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.ops.project import project
from invertavatar_jax.types import Camera


@pytest.mark.parametrize("scale", [1.0, 0.2166])
def test_positions_and_depths_are_the_cameras(scale):
    rng = np.random.default_rng(0)
    pose = cameras.orbit(rng.normal(size=4) * 0.5, rng.normal(size=4) * 0.3)
    matrix = np.stack([cameras.intrinsics(focal) for focal in (1.0, 4.2647, 3.0, 9.0)])
    points = rng.uniform(-0.4, 0.4, (4, 20, 3)).astype(np.float32)
    expected = cameras.project(Camera(pose, matrix), points)
    scaled = pose.copy()
    scaled[..., :3, :3] *= scale
    got = jax.jit(project)(Camera(jnp.asarray(scaled), jnp.asarray(matrix)), points)
    np.testing.assert_allclose(got[0], expected[0], atol=2e-5)
    np.testing.assert_allclose(got[1], expected[1], atol=1e-5)


def test_points_behind_the_camera_stay_finite():
    camera = Camera(jnp.asarray(cameras.orbit(0.0, 0.0)), jnp.asarray(cameras.intrinsics()))
    points = jnp.array([[0.0, 0.0, 2.71], [0.1, 0.2, 9.0]])
    position, depth = project(camera, points)
    assert np.all(np.isfinite(position)) and np.all(np.asarray(depth) <= 0)
    gradient = jax.grad(lambda p: project(camera, p)[0].sum())(points)
    assert np.all(np.isfinite(gradient))
