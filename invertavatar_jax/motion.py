"""Driving signals: expression, gaze and camera for every frame of a video to be rendered.

A signal comes from a track, from a JSON file of ARKit names, or is built in.
"""

import difflib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.types import Camera, FaceFit

_SWAY_RAD = (0.30, 0.08)  # yaw, pitch of the demonstration's slow sway
_ORBIT_RAD = (0.35, 0.25)  # yaw, pitch of the orbit; SPEC section 9.7

# Keyframes of the built-in clip: seconds and values, eased in between.
_CLIP_SECONDS = 4.0
_CLIP = {
    ("eyeBlinkLeft", "eyeBlinkRight"): (
        (0.2, 0),
        (0.32, 1),
        (0.48, 0),
        (2.9, 0),
        (3.0, 1),
        (3.15, 0),
    ),
    ("mouthSmileLeft", "mouthSmileRight"): ((0.4, 0), (0.8, 0.9), (1.3, 0.9), (1.6, 0)),
    ("cheekSquintLeft", "cheekSquintRight"): ((0.4, 0), (0.8, 0.5), (1.3, 0.5), (1.6, 0)),
    ("jawOpen",): ((1.4, 0), (1.75, 0.6), (2.0, 0.1), (2.25, 0.5), (2.5, 0)),
    ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"): ((2.2, 0), (2.5, 0.9), (2.8, 0)),
    ("mouthPucker",): ((3.1, 0), (3.4, 0.8), (3.7, 0)),
}
_CLIP_YAW_RAD = ((2.4, 0), (2.7, 0.35), (3.0, 0.35), (3.3, -0.35), (3.6, -0.35), (3.9, 0))


class Motion(NamedTuple):
    """What t frames show, whoever shows it."""

    expression: Float[np.ndarray, "t e"]  # in [0, 1], order of HeadModel.expression_names
    gaze_rad: Float[np.ndarray, "t 4"]  # as FaceFit.gaze_rad
    camera: Camera  # leading axis t
    frames_per_second: float


def from_track(track: FaceFit) -> Motion:
    """The motion of a tracked person. A frame without a face holds the last face before it.

    Raises:
        UserError: the track has no face at all.
    """
    if not track.has_face.any():
        raise UserError("The driver shows no face in any frame; give another clip.")
    seen = np.flatnonzero(track.has_face)
    position = np.searchsorted(seen, np.arange(len(track.has_face)), side="right") - 1
    source = seen[np.maximum(position, 0)]
    take = lambda values: np.asarray(values)[source]
    rate = track.frames_per_second or 25.0  # photos have no rate
    camera = Camera(*map(take, track.camera))
    return Motion(take(track.expression), take(track.gaze_rad), camera, rate)


def read_expressions(path: str | os.PathLike, names: Sequence[str], front: Camera) -> Motion:
    """Reads a JSON file: {"frames_per_second": 25, "frames": [{"jawOpen": 0.4, ...}, ...]}.

    A frame's entries are ARKit names with weights in [0, 1] (missing ones are 0), and
    optionally "gaze_rad": [left yaw, left pitch, right yaw, right pitch], "yaw_rad" and
    "pitch_rad" of the camera around the head.

    Args:
        names: the head model's expressions, in order.
        front: gives distance and focal length of the camera, which sways; no leading axis.

    Raises:
        UserError: the file is missing or is not of this form; the sentence says where.
    """
    path = Path(path)
    frames, rate = _read_frames(path)
    expression = np.zeros((len(frames), len(names)), np.float32)
    gaze, yaw, pitch = np.zeros((len(frames), 4), np.float32), [], []
    column = {name: i for i, name in enumerate(names)}
    for row, frame in enumerate(frames):
        where = f"{path}, frame {row}"
        if not isinstance(frame, dict):
            raise UserError(f"{where}: expected an object of names and weights.")
        rest = dict(frame)
        gaze[row] = _numbers(rest.pop("gaze_rad", [0, 0, 0, 0]), 4, f"{where}, gaze_rad")
        yaw.append(_numbers([rest.pop("yaw_rad", 0)], 1, f"{where}, yaw_rad")[0])
        pitch.append(_numbers([rest.pop("pitch_rad", 0)], 1, f"{where}, pitch_rad")[0])
        for name, weight in rest.items():
            if name not in column:
                raise UserError(f"{where}: unknown expression {name!r}{_closest(name, names)}.")
            value = _numbers([weight], 1, f"{where}, {name}")[0]
            if not 0 <= value <= 1:
                raise UserError(f"{where}: {name} is {value:g}; expected a weight in [0, 1].")
            expression[row, column[name]] = value
    return Motion(expression, gaze, orbit(front, yaw, pitch), rate)


def _read_frames(path: Path) -> tuple[list, float]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file: {error}.") from error
    frames = value.get("frames") if isinstance(value, dict) else None
    if not isinstance(frames, list) or not frames:
        raise UserError(f'{path}: expected {{"frames": [...]}} with at least one frame.')
    rate = _numbers([value.get("frames_per_second", 25)], 1, f"{path}, frames_per_second")[0]
    if rate <= 0:
        raise UserError(f"{path}: frames_per_second is {rate:g}; expected more than 0.")
    return frames, rate


def _numbers(values, count: int, where: str) -> list[float]:
    number = lambda v: isinstance(v, int | float) and math.isfinite(v) and v is not True
    if not isinstance(values, list) or len(values) != count or not all(map(number, values)):
        raise UserError(f"{where}: expected {'a number' if count == 1 else f'{count} numbers'}.")
    return [float(v) for v in values]


def _closest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}" if near else "; expected ARKit's names, e.g. 'jawOpen'"


def built_in(names: Sequence[str], front: Camera, frames_per_second: float = 24.0) -> Motion:
    """Four seconds of blinking, smiling, talking, raised brows and glances, with a slow sway.

    Args:
        names: the head model's expressions, in order; ARKit's must be among them.
        front: gives distance and focal length of the camera, which sways; no leading axis.
    """
    times = np.arange(round(_CLIP_SECONDS * frames_per_second)) / frames_per_second
    expression = np.zeros((len(times), len(names)), np.float32)
    for members, keys in _CLIP.items():
        curve = _ease(times, keys)
        for name in members:
            expression[:, list(names).index(name)] = curve
    gaze = np.zeros((len(times), 4), np.float32)
    gaze[:, [0, 2]] = _ease(times, _CLIP_YAW_RAD)[:, None]
    phase = 2 * np.pi * times / _CLIP_SECONDS
    yaw, pitch = _SWAY_RAD[0] * np.sin(phase), _SWAY_RAD[1] * np.sin(2 * phase)
    return Motion(expression, gaze, orbit(front, yaw, pitch), frames_per_second)


def around(expressions: int, front: Camera, count: int, frames_per_second: float = 24.0) -> Motion:
    """One round of an ellipse of views, with a neutral face that looks ahead.

    Args:
        expressions: number of the head model's expressions.
        front: gives distance and focal length of the camera; no leading axis.
    """
    phase = 2 * np.pi * np.arange(count) / count
    yaw, pitch = _ORBIT_RAD[0] * np.sin(phase), _ORBIT_RAD[1] * np.cos(phase)
    still, gaze = np.zeros((count, expressions), np.float32), np.zeros((count, 4), np.float32)
    return Motion(still, gaze, orbit(front, yaw, pitch), frames_per_second)


def first(moves: Motion, most: int) -> Motion:
    """At most `most` frames from the beginning."""
    return pick(moves, np.arange(min(most, len(moves.expression))))


def pick(moves: Motion, which: Int[np.ndarray, " n"]) -> Motion:
    """Some frames, by number."""
    cut = lambda values: np.asarray(values)[which]
    camera = Camera(*map(cut, moves.camera))
    return Motion(cut(moves.expression), cut(moves.gaze_rad), camera, moves.frames_per_second)


def _ease(times: np.ndarray, keys: Sequence[tuple[float, float]]) -> np.ndarray:
    """Moves from key to key with zero speed at each (smoothstep); constant outside."""
    at, values = np.array(keys, np.float64).T
    after = np.clip(np.searchsorted(at, times, side="right"), 1, len(at) - 1)
    x = np.clip((times - at[after - 1]) / (at[after] - at[after - 1]), 0, 1)
    return values[after - 1] + (values[after] - values[after - 1]) * x * x * (3 - 2 * x)


def orbit(
    camera: Camera, yaw_rad: Sequence[float] | np.ndarray, pitch_rad: Sequence[float] | np.ndarray
) -> Camera:
    """Cameras around the head, at the given one's distance and focal length.

    Args:
        camera: one camera, without leading axes.
        yaw_rad, pitch_rad: as fit.camera.orbit; one a frame.
    """
    yaw = np.asarray(yaw_rad, np.float64)
    distance = float(np.linalg.norm(np.asarray(camera.world_from_camera)[:3, 3]))
    intrinsics = cameras.intrinsics(float(np.asarray(camera.intrinsics)[0, 0]))
    poses = cameras.orbit(yaw, np.asarray(pitch_rad, np.float64), distance)
    return Camera(poses, np.tile(intrinsics, (len(yaw), 1, 1)))
