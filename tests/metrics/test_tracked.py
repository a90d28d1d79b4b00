"""Errors between tracks that were turned, moved and changed by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.metrics import tracked
from invertavatar_jax.types import Camera, FaceFit

NAMES = ("browDownLeft", "browDownRight", "jawOpen", "mouthSmileLeft")
SIDE, FRAMES = 8, 3


def track(rotation=None, place=(0.02, -0.03, 2.6), window=(10.0, 5.0, 40.0), expression=0.5):
    """A track of heads turned by `rotation` at `place`, in a crop (left, top, side in px)."""
    pose = np.tile(np.eye(4), (FRAMES, 1, 1))
    turn = Rotation.from_euler("xyz", [np.pi, 0.2, 0.1])
    pose[:, :3, :3] = (turn if rotation is None else rotation * turn).as_matrix()
    pose[:, :3, 3] = place
    left, top, side = window
    crop = np.array([[side / SIDE, 0, left], [0, side / SIDE, top], [0, 0, 1]], np.float32)
    return FaceFit(
        identity=np.zeros(4, np.float32),
        expression=np.full((FRAMES, len(NAMES)), expression, np.float32),
        gaze_rad=np.zeros((FRAMES, 4), np.float32),
        camera=Camera(cameras.invert(pose), np.tile(cameras.intrinsics(), (FRAMES, 1, 1))),
        image=np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8),
        matte=np.zeros((FRAMES, SIDE, SIDE), np.uint8),
        landmarks_px=np.zeros((FRAMES, 478, 2), np.float32),
        source_from_crop=np.tile(crop, (FRAMES, 1, 1)),
        has_face=np.ones(FRAMES, bool),
        frame_index=np.arange(FRAMES, dtype=np.int32),
        frames_per_second=25.0,
    )


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 5.0, 90.0, 180.0])
def test_the_pose_error_is_the_angle_of_the_turn(degrees):
    axis = np.array([0.36, 0.48, 0.8])
    turned = track(Rotation.from_rotvec(np.radians(degrees) * axis))
    score = tracked.pose_error()(turned, track())
    np.testing.assert_allclose(score.values, np.full(FRAMES, degrees), rtol=1e-4, atol=1e-5)


def test_heads_that_project_alike_are_in_the_same_place_in_any_crop():
    near, wide = track(), track(place=(0, 0, 2.6), window=(0.0, 0.0, 80.0))
    far = np.array([0.02, -0.03, 2.6])
    focal = cameras.FOCAL
    seen = (focal * far[:2] / far[2] + 0.5) * 40 + [10, 5]  # in pixels of the source
    depth = 2.6 * 80 / 40  # a crop twice as wide shows the head half as large
    place = np.append((seen / 80 - 0.5) / focal * depth, depth)
    same = track(place=place, window=(0.0, 0.0, 80.0))
    error = tracked.translation_error()
    np.testing.assert_allclose(error(same, near).values, np.zeros(FRAMES), atol=1e-5)
    assert error(wide, near).mean > 0.1


def test_the_translation_error_is_the_shift_in_one_crop():
    moved = track(place=(0.05, -0.07, 2.6))
    score = tracked.translation_error()(moved, track())
    np.testing.assert_allclose(score.values, np.full(FRAMES, 0.05), rtol=1e-4)


def test_expressions_are_compared_by_the_part_of_the_face():
    changed, driving = track(), track()
    changed.expression[:] += np.array([0.1, -0.3, 0.2, 0], np.float32)
    expected = {"all": 0.15, "brow": 0.2, "jaw": 0.2, "mouth": 0.0}
    assert tracked.parts(NAMES) == ["brow", "jaw", "mouth"]
    for group, error in expected.items():
        score = tracked.expression_error(NAMES, group)(changed, driving)
        np.testing.assert_allclose(score.values, np.full(FRAMES, error), rtol=1e-4, atol=1e-7)
        assert score.name == f"expression_error[{group}]"


def test_frames_without_a_face_are_counted_and_in_no_mean():
    lost = track()
    lost.has_face[1] = False
    lost.camera.world_from_camera[1] = 0
    lost.source_from_crop[1] = 0
    driving = track(place=(0, 0, 2.6))
    for metric in (
        tracked.pose_error(),
        tracked.translation_error(),
        tracked.expression_error(NAMES),
    ):
        for pair in ((lost, driving), (driving, lost)):
            score = metric(*pair)
            assert np.flatnonzero(np.isnan(score.values)).tolist() == [1]
            assert sum(score.counts.values()) == FRAMES + 1


def test_tracks_that_do_not_fit_are_refused():
    short = track()._replace(has_face=np.ones(2, bool))
    with pytest.raises(ValueError, match="tracks of 3 and 2 frames"):
        tracked.pose_error()(track(), short)
    with pytest.raises(ValueError, match="a track of 4 expressions, expected 3"):
        tracked.expression_error(NAMES[1:])(track(), track())
    with pytest.raises(ValueError, match="expected all or one of brow, jaw, mouth"):
        tracked.expression_error(NAMES, "nose")
