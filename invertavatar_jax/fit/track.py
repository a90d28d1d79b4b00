"""Tracks one person through photos or a video: `fit` gives a FaceFit and a report."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from invertavatar_jax.fit import crop, landmarks
from invertavatar_jax.fit.camera import intrinsics, invert
from invertavatar_jax.fit.follow import follow
from invertavatar_jax.fit.morphable import HeadModel, load_head_model
from invertavatar_jax.fit.person import Person, fit_person
from invertavatar_jax.fit.sources import Given, Source, SourceError, open_source
from invertavatar_jax.types import Camera, FaceFit

LEAST_FRAME_ERROR = 0.06  # of the distance between the irises: a worse fit shows no face


class Report(TypedDict):
    """What `fit` measured."""

    frames: int
    frames_with_face: int
    median_error_iod: float  # of all mesh landmarks, over the distance between the irises
    frames_per_second: float
    warnings: list[str]


class _Seen(NamedTuple):
    points: Float[np.ndarray, "t 478 3"]  # pixels of the source
    has_face: Bool[np.ndarray, " t"]


def fit(
    sources: Given | Sequence[Given],
    head: HeadModel | None = None,
    *,
    size: int = 512,
    face: int | None = None,
    allow_truncated: bool = False,
    progress: Callable[[str, int], None] | None = None,
    network: landmarks.LandmarkNetwork | None = None,
) -> tuple[FaceFit, Report]:
    """Finds identity, and per frame expression, gaze, camera, crop and matte.

    Args:
        sources: what `open_source` takes; several photos are one person.
        head: the head model; the bundled one by default.
        size: side of the crops in pixels.
        face: which face, by size, where several are seen; 0 is the largest.
        progress: called with the stage's name and the frames done.

    Raises: SourceError for input that cannot be read or shows no face.

    Source: DESIGN section 6; crops after TRAINING section F.
    """
    began = time.perf_counter()
    head = load_head_model() if head is None else head
    source = open_source(sources, allow_truncated=allow_truncated)
    report = progress or (lambda stage, count: None)
    notes: list[str] = []
    seen = _see_all(source, network or landmarks.landmark_network(), face, notes, report)
    windows = crop.find_crops(head, seen.points, seen.has_face, steady=source.is_video)
    found = _fit_known(head, seen, windows, source.is_video)
    result = _assemble(head, source, seen, windows, found, size, report)
    error = found.error_iod[result.has_face[seen.has_face]]
    lost = int(seen.has_face.sum() - result.has_face.sum())
    if lost:
        notes.append(f"{lost} frames show something else where the face was; marked as no face")
    seconds = time.perf_counter() - began
    return result, Report(
        frames=len(result.has_face),
        frames_with_face=int(result.has_face.sum()),
        median_error_iod=float(np.median(error)),
        frames_per_second=len(result.has_face) / seconds,
        warnings=notes,
    )


def _see_all(source: Source, network, face, notes: list[str], report) -> _Seen:
    points, has_face, most = [], [], 0
    nothing = np.zeros((landmarks.LANDMARKS, 3), np.float32)
    frames = follow(source.frames(), network, face=face, is_video=source.is_video)
    with warnings.catch_warnings(record=True) as caught:  # of a video that is cut short
        warnings.simplefilter("always")
        for found in frames:
            has_face.append(found.points is not None)
            points.append(nothing if found.points is None else found.points)
            most = max(most, found.faces)
            report("landmarks", len(points))
    notes += [str(warning.message) for warning in caught]
    if not any(has_face):
        which = "" if not face else f" of rank {face} by size"
        raise SourceError(
            f"{source.name}: no face{which} found in {len(points)} frames ({most} faces seen); "
            "use a picture where the face is larger, upright and unobstructed"
        )
    if most > 1 and face is None:
        notes.append(f"{most} faces seen; the largest is followed (choose another with face=N)")
    if not all(has_face):
        notes.append(f"{has_face.count(False)} of {len(has_face)} frames show no face")
    return _Seen(np.stack(points).astype(np.float64), np.array(has_face))


def _fit_known(head: HeadModel, seen: _Seen, windows, is_video: bool) -> Person:
    known = np.flatnonzero(seen.has_face)
    side, origin = windows[known, :1, 0][:, None], windows[known, None, :2, 2]
    image = (seen.points[known, :, :2] - origin) / side
    five = seen.points[known][:, crop.FIVE_POINTS, :2].mean(2)
    runs = crop.find_runs(five, known) if is_video else None
    return fit_person(head, image.astype(np.float32), known, runs)


def _assemble(
    head: HeadModel, source: Source, seen: _Seen, windows, found: Person, size: int, report
) -> FaceFit:
    """Cuts crops and mattes in a second pass over the source, and lays everything out."""
    count, known = len(seen.has_face), np.flatnonzero(seen.has_face)
    good = known[np.median(found.error_iod, axis=1) < LEAST_FRAME_ERROR]
    rows = np.isin(known, good)
    image = np.zeros((count, size, size, 3), np.uint8)
    matte = np.zeros((count, size, size), np.uint8)
    matting = landmarks.Matting()
    wanted = set(good.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first pass has told
        for i, picture in enumerate(source.frames()):
            image[i] = crop.cut_crop(picture, windows[i], size)
            if i in wanted:
                matte[i] = matting.matte(image[i]) * crop.inside(picture, windows[i], size)
            report("crops", i + 1)
    spread = lambda values: _spread(values[rows], good, count)
    pose_of = np.zeros((count, 4, 4), np.float32)
    pose_of[:] = np.eye(4)
    pose_of[good, :3, :3] = found.motion.rotation[rows]
    pose_of[good, :3, 3] = found.motion.translation[rows]
    side, origin = windows[:, :1, 0][:, None], windows[:, None, :2, 2]
    points = (seen.points[..., :2] - origin) / side * size
    has_face = np.isin(np.arange(count), good)
    source_from_crop = windows @ np.diag([1.0 / size, 1.0 / size, 1.0])
    return FaceFit(
        identity=found.identity,
        expression=spread(found.motion.expression),
        gaze_rad=spread(found.gaze_rad),
        camera=Camera(invert(pose_of), np.repeat(intrinsics()[None], count, axis=0)),
        image=image,
        matte=matte,
        landmarks_px=np.where(has_face[:, None, None], points, 0.0).astype(np.float32),
        source_from_crop=source_from_crop.astype(np.float32),
        has_face=has_face,
        frame_index=np.arange(count, dtype=np.int32),
        frames_per_second=source.frames_per_second,
    )


def _spread(values: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    result = np.zeros((count, *values.shape[1:]), np.float32)
    result[where] = values
    return result
