"""Where frames are compared."""

import numpy as np
import pytest

from invertavatar_jax.metrics import masks


@pytest.fixture
def landmarks():
    """A face that is a circle of radius 20 around (32, 28) in a crop of 64."""
    points = np.zeros((478, 2), np.float32)
    angle = np.linspace(0, 2 * np.pi, len(masks.FACE_OUTLINE), endpoint=False)
    circle = np.stack([32 + 20 * np.sin(angle), 28 - 20 * np.cos(angle)], -1)
    points[list(masks.FACE_OUTLINE)] = circle
    return points


@pytest.mark.parametrize("side", [32, 64, 100])
def test_a_round_face_has_the_area_of_a_circle_at_any_size(landmarks, side):
    mask = masks.face(landmarks, 64, side)
    assert mask.shape == (side, side)
    assert mask.mean() == pytest.approx(np.pi * (20 / 64) ** 2, rel=0.03)
    ys, xs = np.nonzero(mask)
    assert (xs.mean() + 0.5) / side == pytest.approx(0.5, abs=0.01)
    assert (ys.mean() + 0.5) / side == pytest.approx(28 / 64, abs=0.01)


def test_the_outline_starts_at_the_forehead_and_names_each_point_once():
    assert masks.FACE_OUTLINE[0] == masks.FOREHEAD
    assert masks.FACE_OUTLINE[len(masks.FACE_OUTLINE) // 2] == masks.CHIN
    assert len(set(masks.FACE_OUTLINE)) == 36


def test_the_head_ends_below_the_chin(landmarks):
    matte = np.zeros((64, 64), np.uint8)
    matte[2:, 10:54] = 255
    head = masks.head(matte, landmarks, 64)
    assert head[2, 30] and not head[1, 30] and not head[30, 5]
    assert head[53, 30] and not head[54, 30]  # chin at 48, plus 15 % of 40


def test_padding_is_not_compared():
    picture = np.full((64, 64, 3), 90, np.uint8)
    picture[:10], picture[:, 60:] = 0, 3
    picture[30:40, 20:30] = 0  # black inside the picture is a picture
    inside = masks.recorded(picture, 32)
    assert not inside[:5].any() and not inside[:, 30:].any()
    assert inside[5:, :30].all()
    assert not masks.recorded(picture * 0, 32).any()
