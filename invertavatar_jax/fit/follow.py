"""Finds faces in pictures of any size, and follows one of them through a video."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from invertavatar_jax.fit.landmarks import (
    CROP_FACES,
    MOST_FACES,
    SMALLEST_FACE_PX,
    LandmarkNetwork,
    Picture,
    Points,
    find_in,
)


class Found(NamedTuple):
    """What the detector says about one frame."""

    points: Points | None  # None: no face
    faces: int  # faces seen when the whole frame was searched last


def follow(
    pictures: Iterable[Picture],
    network: LandmarkNetwork,
    *,
    face: int | None = None,
    is_video: bool = True,
) -> Iterator[Found]:
    """Finds one face through all frames: the largest, or the `face`-th largest (0 based).

    In a video the face is looked for where it was last; where that fails, or nothing was
    known, the whole frame is searched and the nearest face that fits the last one is taken.
    """
    last: Points | None = None
    faces = 0
    for picture in pictures:
        points = None if last is None else _near(picture, network, last)
        if points is None:
            candidates = search(picture, network)
            faces = len(candidates)
            points = _choose(candidates, face, last)
            if points is not None:
                closer = _near(picture, network, points)
                points = points if closer is None else closer
        if is_video and points is not None:
            last = points
        yield Found(points, faces)


def face_box(points: Points) -> tuple[np.ndarray, float]:
    """Centre (x, y) and side in pixels of the square around a face's landmarks."""
    low, high = points[:468, :2].min(0), points[:468, :2].max(0)
    return (low + high) / 2, float((high - low).max())


def search(picture: Picture, network: LandmarkNetwork) -> list[Points]:
    """All faces of a picture, largest first; looks closer where none is found at once."""
    height, width = picture.shape[:2]
    found = network.find(picture, MOST_FACES)
    if not found:  # a face that fills the picture is found with a margin around it
        found = find_in(
            picture, network, (-width // 4, -height // 4, 3 * width // 2, 3 * height // 2)
        )
    for level in (2, 3):  # the second level also for smaller faces beside a large one
        if (found and level > 2) or min(height, width) < 2 * SMALLEST_FACE_PX * level:
            break
        for tile in _tiles(width, height, level):
            found += find_in(picture, network, tile)
    return _distinct(found)


def _tiles(width: int, height: int, level: int) -> list[tuple[int, int, int, int]]:
    """Level x level windows (left, top, width, height), each overlapping the next by half."""
    side_x, side_y = 2 * width // (level + 1), 2 * height // (level + 1)
    steps = range(level)
    return [(i * side_x // 2, j * side_y // 2, side_x, side_y) for j in steps for i in steps]


def _near(picture: Picture, network: LandmarkNetwork, points: Points) -> Points | None:
    """Looks for the face where `points` were; None where another or no face is there."""
    centre, side = face_box(points)
    half = round(CROP_FACES * side / 2)
    left, top = round(float(centre[0])) - half, round(float(centre[1])) - half
    found = find_in(picture, network, (left, top, 2 * half, 2 * half), most=1)
    fitting = [f for f in found if _fits(f, points)]
    return fitting[0] if fitting else None


def _fits(points: Points, last: Points) -> bool:
    """Whether two detections can be the same face: near, and of like size."""
    (centre, side), (last_centre, last_side) = face_box(points), face_box(last)
    near = np.linalg.norm(centre - last_centre) < 0.75 * last_side
    return bool(near and 0.6 < side / last_side < 1.7 and side >= SMALLEST_FACE_PX)


def _distinct(found: list[Points]) -> list[Points]:
    """Largest first, without second detections of the same face."""
    kept: list[Points] = []
    for points in sorted(found, key=lambda p: -face_box(p)[1]):
        centre, side = face_box(points)
        apart = all(np.linalg.norm(centre - face_box(k)[0]) > 0.5 * face_box(k)[1] for k in kept)
        if apart and side >= SMALLEST_FACE_PX:
            kept.append(points)
    return kept


def _choose(candidates: list[Points], face: int | None, last: Points | None) -> Points | None:
    if not candidates:
        return None
    if last is None:
        rank = face or 0
        return candidates[rank] if rank < len(candidates) else None
    fitting = [c for c in candidates if _fits(c, last)]
    if fitting:
        centre = face_box(last)[0]
        return min(fitting, key=lambda c: float(np.linalg.norm(face_box(c)[0] - centre)))
    return candidates[0] if len(candidates) == 1 else None
