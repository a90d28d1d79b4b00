"""Contour pictures of the face."""

import numpy as np

from invertavatar_jax.data import landmark_map
from invertavatar_jax.fit import camera, morphable
from invertavatar_jax.types import Camera

CHIN, BROW, LEFT_EYE, RIGHT_EYE, NOSE = 152, 10, 263, 33, 4  # of MediaPipe's landmarks


def place(side):
    head = morphable.load_head_model()
    view = Camera(camera.orbit(0.0, 0.0), camera.intrinsics())
    return landmark_map.place_landmarks(head, head.template, view, side)


def test_landmarks_of_a_head_seen_from_the_front_are_where_a_face_has_them():
    points = place(200)
    assert points.shape == (468, 2)
    assert 0.9 < np.isfinite(points).all(1).mean() < 1  # the head lacks a few
    assert points[BROW, 1] < points[LEFT_EYE, 1] < points[NOSE, 1] < points[CHIN, 1]
    assert points[RIGHT_EYE, 0] < 100 < points[LEFT_EYE, 0]
    np.testing.assert_allclose(points[[CHIN, BROW, NOSE], 0], 100, atol=2)
    np.testing.assert_allclose(points[RIGHT_EYE, 1], points[LEFT_EYE, 1], atol=1)


def test_landmarks_scale_with_the_picture():
    np.testing.assert_allclose(place(64) * 4, place(256), rtol=1e-6)


def test_every_contour_has_its_colour_where_its_points_are():
    side = 256
    points = place(side)
    picture = landmark_map.draw_landmarks(points, side)
    assert picture.shape == (side, side, 3) and picture.dtype == np.uint8
    for numbers, colour, _ in landmark_map._CONTOURS:
        known = points[list(numbers)]
        known = known[np.isfinite(known).all(1)].astype(int)
        near = picture[known[:, 1], known[:, 0]].astype(int)
        assert (np.abs(near - colour).max(1) < 140).mean() > 0.6, colour


def test_what_is_far_from_all_points_is_black():
    points = place(128)
    picture = landmark_map.draw_landmarks(points, 128)
    known = points[np.isfinite(points).all(1)]
    low, high = known.min(0).astype(int) - 3, known.max(0).astype(int) + 4
    inside = np.zeros((128, 128), bool)
    inside[low[1] : high[1], low[0] : high[0]] = True
    assert (picture[~inside] == 0).all()
    assert 0.01 < (picture.max(-1) > 0).mean() < 0.2


def test_lines_to_unknown_points_are_left_out():
    points = place(64)
    whole = landmark_map.draw_landmarks(points, 64)
    points[CHIN] = np.nan
    gap = landmark_map.draw_landmarks(points, 64)
    assert gap.astype(int).sum() < whole.astype(int).sum()
    assert (gap <= whole).all()
    nothing = landmark_map.draw_landmarks(np.full((468, 2), np.nan), 64)
    assert not nothing.any()


def test_points_outside_the_picture_do_no_harm():
    picture = landmark_map.draw_landmarks(place(64) + 1e4, 64)
    assert not picture.any()
