"""Crops stand where EG3D's do, keep still, and show the right pixels."""

import numpy as np
import pytest

from invertavatar_jax.fit import camera, crop
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.types import Camera


@pytest.fixture(scope="module")
def head():
    return load_head_model()


def landmarks(head, pose, side=200.0, corner=(40.0, 30.0)) -> np.ndarray:
    """The template's landmarks in a picture whose EG3D crop is a known square."""
    corners = head.template[head.landmark_vertices]
    points = (corners * head.landmark_weights[..., None]).sum(1)
    image, _ = camera.project(Camera(pose, camera.intrinsics()), points)
    result = np.zeros((1, 478, 3))
    result[0, head.landmark_index, :2] = image * side + np.array(corner)
    return result


def test_a_head_seen_by_eg3ds_frontal_camera_is_cropped_to_its_image(head):
    points = landmarks(head, camera.orbit(0.0, 0.0))
    (window,) = crop.find_crops(head, points, np.array([True]), steady=False)
    assert window[0, 0] == window[1, 1] == pytest.approx(200, rel=0.03)
    np.testing.assert_allclose(window[:2, 2], (40, 30), atol=4)


@pytest.mark.parametrize("yaw", [-0.5, 0.5])
def test_a_turned_head_keeps_its_size(head, yaw):
    points = landmarks(head, camera.orbit(yaw, 0.0))
    (window,) = crop.find_crops(head, points, np.array([True]), steady=False)
    assert window[0, 0] == pytest.approx(200, rel=0.06)


def test_a_frame_without_a_face_takes_the_nearest_crop(head):
    points = np.concatenate([landmarks(head, camera.orbit(0.0, 0.0))] * 4)
    points[3] += 20 * (points[3] != 0)
    has_face = np.array([True, False, False, True])
    windows = crop.find_crops(head, points, has_face, steady=False)
    np.testing.assert_array_equal(windows[1], windows[0])
    np.testing.assert_array_equal(windows[2], windows[3])
    assert not np.array_equal(windows[0], windows[3])


def test_smoothing_calms_noise_and_keeps_a_constant():
    rng = np.random.default_rng(0)
    index, runs = np.arange(60), np.zeros(60, int)
    noise = rng.normal(size=(60, 5, 2))
    calm = crop.smooth(noise, index, runs, 3.0)
    assert calm.std() < 0.5 * noise.std()
    same = crop.smooth(np.full((60, 5, 2), 7.0), index, runs, 3.0)
    np.testing.assert_allclose(same, 7.0)


def test_a_steady_drift_is_kept_up_to_the_ends():
    drift = np.arange(30.0)[:, None, None] * np.ones((5, 2))
    calm = crop.smooth(drift, np.arange(30), np.zeros(30, int), 3.0)
    np.testing.assert_allclose(calm, drift, atol=1e-6)


def test_smoothing_does_not_reach_across_a_cut():
    five = np.zeros((40, 5, 2)) + np.array([[0, 0], [10, 0], [5, 5], [2, 10], [8, 10]])
    five[20:] += 300
    runs = crop.find_runs(five, np.arange(40))
    assert list(np.unique(runs)) == [0, 1]
    np.testing.assert_allclose(crop.smooth(five, np.arange(40), runs, 3.0), five)


def test_a_long_gap_separates_runs():
    five = np.zeros((4, 5, 2)) + np.array([[0, 0], [10, 0], [5, 5], [2, 10], [8, 10]])
    assert list(crop.find_runs(five, np.array([0, 1, 30, 31]))) == [0, 0, 1, 1]


def test_a_crop_of_the_same_size_copies_pixels_and_is_black_outside():
    picture = np.random.default_rng(0).integers(1, 255, (50, 60, 3)).astype(np.uint8)
    window = np.array([[40.0, 0, -10], [0, 40, 20], [0, 0, 1]])
    cut = crop.cut_crop(picture, window, 40)
    np.testing.assert_array_equal(cut[:30, 10:], picture[20:, :30])
    assert (cut[:, :10] == 0).all() and (cut[30:] == 0).all()
    np.testing.assert_array_equal(crop.inside(picture, window, 40), cut.any(-1))


def test_a_head_without_the_five_points_is_refused(head):
    bare = head._replace(landmark_index=head.landmark_index[:5])
    with pytest.raises(ValueError, match="lacks the landmarks"):
        crop.five_points(bare)
