"""Jitter of motions whose second differences are known."""

import numpy as np
import pytest

from invertavatar_jax.metrics import jitter

TIME = np.arange(9)


def moving(x) -> np.ndarray:
    """Two landmarks that move by x along (3, 4) / 5, in widths of the picture."""
    start = np.array([[0.2, 0.3], [0.5, 0.1]])
    return start + np.asarray(x)[:, None, None] * np.array([0.6, 0.8])


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (0.01 * TIME, 0.0),  # even
        (0.001 * TIME**2, 0.002 * 512),  # accelerating
        (0.001 * (-1.0) ** TIME, 0.004 * 512),  # trembling
    ],
)
def test_landmark_jitter_is_the_second_difference_in_pixels_of_512(motion, expected):
    found = jitter.landmark_jitter(moving(motion))
    np.testing.assert_allclose(found.values, np.full(7, expected), rtol=1e-4, atol=1e-9)


def test_white_noise_counts_as_its_docstring_says():
    noise = np.random.default_rng(0).normal(0, 1 / 512, (400, 100, 2))
    assert jitter.landmark_jitter(noise).values.mean() == pytest.approx(3.07, rel=0.01)


def test_a_frame_without_a_face_leaves_out_its_neighbours_and_is_counted():
    points = moving(0.001 * TIME**2)
    points[4] = np.nan
    found = jitter.landmark_jitter(points)
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [2, 3, 4]
    assert found.counts == {"frames": 9, "frames_without_face": 1}


@pytest.mark.parametrize(("levels", "expected"), [(TIME, 0.0), (TIME**2, 2.0), ((-1.0) ** TIME, 4)])
def test_image_jitter_is_the_second_difference_in_units_of_the_range(levels, expected):
    level = 2 * np.asarray(levels, np.float32) / 255  # of [-1, 1]
    images = np.broadcast_to(level[:, None, None, None], (9, 4, 5, 3))
    score = jitter.image()(images)
    np.testing.assert_allclose(score.values * 255, np.full(7, expected), rtol=1e-4, atol=1e-5)


def test_two_frames_have_no_jitter():
    with pytest.raises(ValueError, match="got 2 frames"):
        jitter.image_jitter(np.zeros((2, 4, 4, 3)))
    with pytest.raises(ValueError, match="got 2 frames"):
        jitter.landmark_jitter(np.zeros((2, 4, 2)))
