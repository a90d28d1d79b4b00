"""Which tracked frames are fit for training, and why the others are not."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from invertavatar_jax.fit import follow, landmarks
from invertavatar_jax.types import FaceFit

NO_FACE, LOST, SEVERAL = "no face", "tracking lost", "several faces"
SMALL, BLURRED, COPY = "too small", "blurred", "same picture as before"
LEAST_SIDE_PX = 128  # of the crop, in pixels of the source
# Faces of a photo and of two clips gave .23 to .39; blurred by 4 pixels of 512, .11 to .16.
DETAIL_SIDE, LEAST_DETAIL = 128, 0.17
OTHER_FACE = 0.35  # a second face counts from this part of the first one's size

Crop = UInt8[np.ndarray, "h w 3"]


def judge(
    track: FaceFit, network: landmarks.LandmarkNetwork, least_side: int = LEAST_SIDE_PX
) -> list[str | None]:
    """For every frame the reason to leave it out, or None.

    Args:
        network: finds faces in the crops.
        least_side: pixels of the source that a crop's side must have.
    """
    reasons: list[str | None] = []
    kept: set[bytes] = set()
    for index in range(len(track.image)):
        reason = _reason(track, index, network, least_side)
        picture = track.image[index].tobytes()
        if reason is None and picture in kept:
            reason = COPY
        if reason is None:
            kept = {picture}  # videos repeat a frame at once; photos are clips by themselves
        reasons.append(reason)
    return reasons


def _reason(
    track: FaceFit, index: int, network: landmarks.LandmarkNetwork, least_side: int
) -> str | None:
    image = track.image[index]
    faces = follow.search(image, network)
    if not track.has_face[index]:
        return LOST if faces else NO_FACE
    if track.source_from_crop[index, 0, 0] * len(image) < least_side:
        return SMALL
    if has_several(faces):
        return SEVERAL
    if detail(image, track.landmarks_px[index, :468]) < LEAST_DETAIL:
        return BLURRED
    return None


def has_several(faces: Sequence[landmarks.Points]) -> bool:
    """Whether a second face is large beside the first."""
    sides = sorted((follow.face_box(points)[1] for points in faces), reverse=True)
    return len(sides) > 1 and sides[1] > OTHER_FACE * sides[0]


def detail(image: Crop, points_px: Float[np.ndarray, "n 2"]) -> float:
    """How sharp the face is: its mean Laplacian over its contrast, at DETAIL_SIDE pixels."""
    side = len(image)
    low, high = points_px.min(0).clip(0, side - 1), points_px.max(0).clip(1, side)
    face = Image.fromarray(image).convert("L").crop((*low.astype(int), *high.astype(int)))
    size = [max(8, round(length * DETAIL_SIDE / side)) for length in face.size]
    grey = np.asarray(face.resize((size[0], size[1]), Image.Resampling.BOX), np.float64)
    around = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float(np.abs(around - 4 * grey[1:-1, 1:-1]).mean() / max(grey.std(), 1.0))
