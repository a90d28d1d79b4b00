"""Conventions of cameras: what is seen where, and that every converter undoes its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invertavatar_jax.fit import camera
from invertavatar_jax.types import Camera

angles = st.tuples(st.floats(-1.4, 1.4), st.floats(-1.4, 1.4))
lenses = st.floats(0.5, 8.0)


def view(yaw: float, pitch: float, focal: float = camera.FOCAL) -> Camera:
    pose = camera.orbit(yaw, pitch, 2.7, (0.0, 0.0, 0.2))
    return Camera(pose, camera.intrinsics(focal))


def same(first: Camera, second: Camera) -> None:
    for got, expected in zip(first, second, strict=True):
        np.testing.assert_allclose(got, expected, atol=3e-6)


def test_the_frontal_camera_sees_the_heads_left_on_the_right_and_up_above():
    pose = camera.orbit(0.0, 0.0)
    np.testing.assert_allclose(pose[:3, :3], np.diag([1, -1, -1]), atol=1e-7)
    points = np.array([[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1], [0, 0, 0]])
    image, depth = camera.project(Camera(pose, camera.intrinsics()), points)
    assert image[0, 0] > 0.5 and image[1, 1] < 0.5
    np.testing.assert_allclose(image[3], [0.5, 0.5], atol=1e-6)
    assert depth[2] < depth[3] == pytest.approx(2.7, abs=1e-6)


@given(angles)
def test_orbit_and_its_angles_are_inverse(pair):
    yaw, pitch, radius = camera.orbit_angles(camera.orbit(*pair, radius=3.1))
    np.testing.assert_allclose([yaw, pitch, radius], [*pair, 3.1], atol=1e-5)


@given(angles)
def test_a_pose_is_a_rotation_and_its_inverse_undoes_it(pair):
    pose = camera.orbit(*pair)
    np.testing.assert_allclose(pose @ camera.invert(pose), np.eye(4), atol=1e-6)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0, abs=1e-5)


def test_a_camera_cannot_look_along_the_vertical():
    with pytest.raises(ValueError, match="vertical"):
        camera.look_at(np.array([0.0, 2.0, 0.0]), np.zeros(3))


@given(angles, lenses)
def test_opencv_agrees_in_pixels_and_round_trips(pair, focal):
    own, size = view(*pair, focal), 256
    other = camera.to_opencv(own, size)
    point = np.array([0.03, -0.02, 0.1])
    seen = other.matrix_px @ (other.rotation @ point + other.translation)
    image, _ = camera.project(own, point[None])
    # pixel centres: half integers here, integers there
    np.testing.assert_allclose(seen[:2] / seen[2], image[0] * size - 0.5, atol=2e-3)
    same(camera.from_opencv(other, size), own)


@given(angles, lenses)
def test_opengl_looks_backwards_and_round_trips(pair, focal):
    own = view(*pair, focal)
    pose, matrix = camera.to_opengl(own)
    np.testing.assert_allclose(pose[:3, 2], -own.world_from_camera[:3, 2])
    np.testing.assert_allclose(pose[:3, 1], -own.world_from_camera[:3, 1])
    same(camera.from_opengl(pose, matrix), own)


@given(angles, lenses)
def test_blender_has_z_up_and_round_trips(pair, focal):
    own = view(*pair, focal)
    matrix_world, lens = camera.to_blender(own)
    x, y, z = own.world_from_camera[:3, 3]
    np.testing.assert_allclose(matrix_world[:3, 3], [x, -z, y], atol=1e-6)
    assert lens == pytest.approx(36 * focal, rel=1e-6)
    same(camera.from_blender(matrix_world, lens), own)


@given(angles, lenses)
def test_pytorch3d_agrees_in_ndc_and_round_trips(pair, focal):
    own = view(*pair, focal)
    other = camera.to_pytorch3d(own)
    point = np.array([0.03, -0.02, 0.1])
    seen = point @ other.rotation + other.translation
    ndc = other.focal_ndc * seen[:2] / seen[2] + other.centre_ndc
    image, _ = camera.project(own, point[None])
    np.testing.assert_allclose(ndc, 1 - 2 * image[0], atol=2e-5)  # x left, y up
    same(camera.from_pytorch3d(other), own)


@given(angles, lenses)
def test_the_vector_holds_25_numbers_and_round_trips(pair, focal):
    own = view(*pair, focal)
    vector = camera.to_vector(own)
    assert vector.shape == (25,)
    same(camera.from_vector(vector), own)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="25 numbers"):
        camera.from_vector(np.zeros(24))


def test_batches_go_through_every_converter():
    pose = camera.orbit(np.linspace(-0.5, 0.5, 6).reshape(2, 3), 0.1)
    own = Camera(pose, np.broadcast_to(camera.intrinsics(), (2, 3, 3, 3)))
    same(camera.from_opencv(camera.to_opencv(own, 64), 64), own)
    same(camera.from_opengl(*camera.to_opengl(own)), own)
    same(camera.from_blender(*camera.to_blender(own)), own)
    same(camera.from_pytorch3d(camera.to_pytorch3d(own)), own)
    same(camera.from_vector(camera.to_vector(own)), own)
