"""Driving signals."""

import json

import numpy as np
import pytest

from invertavatar_jax import motion
from invertavatar_jax.errors import UserError
from invertavatar_jax.types import Camera

NAMES = [
    *("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "jawOpen"),
    *("cheekSquintLeft", "cheekSquintRight", "mouthPucker"),
    *("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "tongueOut"),
]


@pytest.fixture
def front():
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    pose[2, 3] = 2.7
    focal = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], np.float32)
    return Camera(pose, focal)


def write(tmp_path, value):
    path = tmp_path / "drive.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_expressions_are_read_by_name(tmp_path, front):
    frames = [{"jawOpen": 0.25, "gaze_rad": [0.1, 0, 0.1, 0]}, {"tongueOut": 1, "yaw_rad": 0.5}]
    path = write(tmp_path, {"frames_per_second": 10, "frames": frames})
    read = motion.read_expressions(path, NAMES, front)
    assert read.frames_per_second == 10
    assert np.argwhere(read.expression).tolist() == [[0, 4], [1, 11]]
    assert read.expression[0, 4] == 0.25
    np.testing.assert_allclose(read.gaze_rad[0], [0.1, 0, 0.1, 0], rtol=1e-6)
    np.testing.assert_allclose(read.camera.world_from_camera[0], front.world_from_camera)
    assert read.camera.world_from_camera[1, 0, 3] == pytest.approx(2.7 * np.sin(0.5))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "is not a JSON file"),
        ({"frames": []}, "at least one frame"),
        ([], "at least one frame"),
        ({"frames": [3]}, "frame 0: expected an object"),
        ({"frames": [{}, {"jawOpne": 1}]}, "frame 1: unknown expression 'jawOpne'; did you mean"),
        ({"frames": [{"x": 1}]}, "expected ARKit's names"),
        ({"frames": [{"jawOpen": 1.5}]}, "jawOpen is 1.5; expected a weight"),
        ({"frames": [{"jawOpen": "wide"}]}, "jawOpen: expected a number"),
        ({"frames": [{"gaze_rad": [1]}]}, "gaze_rad: expected 4 numbers"),
        ({"frames": [{}], "frames_per_second": 0}, "expected more than 0"),
        ('{"frames": [{"jawOpen": NaN}]}', "expected a number"),
    ],
)
def test_a_wrong_expression_file_is_told_where_it_is_wrong(tmp_path, front, value, said):
    with pytest.raises(UserError) as caught:
        motion.read_expressions(write(tmp_path, value), NAMES, front)
    assert said in str(caught.value)


def test_a_missing_expression_file_is_told(tmp_path, front):
    with pytest.raises(UserError, match="cannot be read"):
        motion.read_expressions(tmp_path / "none.json", NAMES, front)


def test_the_built_in_clip_moves_every_named_part_within_bounds(front):
    clip = motion.built_in(NAMES, front)
    assert len(clip.expression) == 96
    assert clip.expression.min() >= 0 and clip.expression.max() <= 1
    moved = clip.expression.max(0) > 0.4
    assert [name for name, m in zip(NAMES, moved, strict=True) if not m] == ["tongueOut"]
    assert np.abs(np.diff(clip.expression, axis=0)).max() < 0.65  # a blink is the fastest
    assert np.abs(clip.gaze_rad).max() > 0.3
    assert (clip.expression[0] == 0).all() and (clip.expression[-1] < 0.05).all()


def test_an_orbit_keeps_distance_and_focal_length(front):
    tilted = motion.orbit(front, [0.7], [0.2])
    one = Camera(tilted.world_from_camera[0], tilted.intrinsics[0])
    back = motion.orbit(one, [0.0, 0.3], [0.0, 0.1])
    np.testing.assert_allclose(back.world_from_camera[0], front.world_from_camera, atol=1e-6)
    np.testing.assert_array_equal(back.intrinsics, np.tile(front.intrinsics, (2, 1, 1)))
    assert np.linalg.norm(back.world_from_camera[1, :3, 3]) == pytest.approx(2.7)


def test_a_frame_without_a_face_holds_the_last_one(front):
    from tests.export.test_tensors import example_track

    track = example_track(5)._replace(has_face=np.array([False, True, False, True, False]))
    held = motion.from_track(track)
    np.testing.assert_array_equal(held.expression, track.expression[[1, 1, 1, 3, 3]])
    with pytest.raises(UserError, match="no face in any frame"):
        motion.from_track(track._replace(has_face=np.zeros(5, bool)))
