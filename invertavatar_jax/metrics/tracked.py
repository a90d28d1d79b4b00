"""Pose and expression of a result beside those of the pictures that drove it, by our tracker.

Both tracks are of pictures with the same framing, frame by frame: the driving crops and what
was rendered for them, each tracked anew. Frames without a face in either are NaN, in no mean,
and counted. The scores name the networks of our tracker, MediaPipe's.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from invertavatar_jax.fit.camera import invert
from invertavatar_jax.metrics import faces
from invertavatar_jax.metrics.metric import LOWER, Found, Metric
from invertavatar_jax.types import Camera, FaceFit

ALL = "all"  # of the expressions
GROUPS = (ALL, "brow", "cheek", "eye", "jaw", "mouth", "nose", "tongue")  # ARKit's
_GROUP = re.compile(r"[a-z]+")  # ARKit's names begin with the part of the face: browDownLeft


def pose_error() -> Metric:
    """The angle in degrees between the heads' rotations, of (track, driving track)."""
    return Metric("pose_error", "degrees", LOWER, faces.detector_files(), _measure(_angles))


def translation_error() -> Metric:
    """The distance in world units between the heads' places, of (track, driving track).

    Each tracker's crop follows its head, so places are compared in the pictures: the head of
    the result is taken to where the driving track's camera would see it as large as it is
    there, and as far from the centre.
    """
    return Metric(
        "translation_error", "world units", LOWER, faces.detector_files(), _measure(_shifts)
    )


def expression_error(names: Sequence[str], group: str = ALL) -> Metric:
    """Mean absolute difference of the expression's coefficients, of (track, driving track).

    Args:
        names: HeadModel.expression_names of the tracks' head.
        group: a part of the face by ARKit's names ("brow", "eye", "mouth", ...), or ALL.

    Raises:
        ValueError: the head has no expression of the group.
    """
    rows = np.array([i for i, name in enumerate(names) if group in (ALL, _part(name))])
    if not len(rows):
        raise ValueError(f"got group {group!r}, expected {ALL} or one of {', '.join(parts(names))}")

    def apart(track: FaceFit, driving: FaceFit) -> Float[np.ndarray, " t"]:
        for fit in (track, driving):
            if fit.expression.shape[-1] != len(names):
                found = fit.expression.shape[-1]
                raise ValueError(f"got a track of {found} expressions, expected {len(names)}")
        both = (np.asarray(fit.expression, np.float64)[:, rows] for fit in (track, driving))
        return np.abs(np.subtract(*both)).mean(-1)

    return Metric(
        f"expression_error[{group}]", "of [0, 1]", LOWER, faces.detector_files(), _measure(apart)
    )


def parts(names: Sequence[str]) -> list[str]:
    """The groups of expressions, in the order of their first names."""
    return list(dict.fromkeys(_part(name) for name in names))


def _part(name: str) -> str:
    start = _GROUP.match(name)
    return start.group() if start else name


def _measure(
    apart: Callable[[FaceFit, FaceFit], Float[np.ndarray, " n"]],
) -> Callable[[FaceFit, FaceFit], Found]:
    """Compares the frames that show a face in both tracks."""

    def measure(track: FaceFit, driving: FaceFit) -> Found:
        if len(track.has_face) != len(driving.has_face):
            found = f"{len(track.has_face)} and {len(driving.has_face)}"
            raise ValueError(f"got tracks of {found} frames, expected as many")
        both = np.asarray(track.has_face & driving.has_face)
        values = np.full(len(both), np.nan)
        values[both] = apart(_frames(track, both), _frames(driving, both))
        missing = lambda fit: int((~fit.has_face).sum())
        counts = {"frames": len(both), "frames_without_face": missing(track)}
        return Found(values, counts | {"driving_without_face": missing(driving)})

    return measure


def _frames(track: FaceFit, rows: Bool[np.ndarray, " t"]) -> FaceFit:
    """Some frames' cameras and expressions; the crops, which are large, stay as they are."""
    camera = Camera(*(np.asarray(x)[rows] for x in track.camera))
    return track._replace(
        camera=camera,
        expression=track.expression[rows],
        source_from_crop=track.source_from_crop[rows],
    )


def _poses(track: FaceFit) -> Float[np.ndarray, "t 4 4"]:
    """camera_from_head in float64."""
    return invert(np.asarray(track.camera.world_from_camera, np.float64))


def _angles(track: FaceFit, driving: FaceFit) -> Float[np.ndarray, " t"]:
    ours, theirs = (_poses(fit)[:, :3, :3] for fit in (track, driving))
    # the length of two rotations' difference is sqrt(8) sin(angle / 2): exact for small angles
    half = np.linalg.norm(ours - theirs, axis=(1, 2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.minimum(half, 1)))


def _shifts(track: FaceFit, driving: FaceFit) -> Float[np.ndarray, " t"]:
    place = _poses(track)[:, :3, 3]
    ours, theirs = _source_from_camera(track), _source_from_camera(driving)
    ray = np.linalg.solve(theirs, ours @ place[..., None])[..., 0]
    # a picture that is magnified twice shows the head as from half as far away
    depth = place[:, 2] * theirs[:, 0, 0] / ours[:, 0, 0]
    seen = ray / ray[:, 2:] * depth[:, None]
    return np.linalg.norm(seen - _poses(driving)[:, :3, 3], axis=-1)


def _source_from_camera(track: FaceFit) -> Float[np.ndarray, "t 3 3"]:
    """Intrinsics in pixels of the pictures that were tracked."""
    side = track.image.shape[1]
    crop_from_camera = np.diag([side, side, 1.0]) @ np.asarray(track.camera.intrinsics, np.float64)
    return np.asarray(track.source_from_crop, np.float64) @ crop_from_camera
