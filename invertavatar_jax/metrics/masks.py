"""Where a tracked frame is compared: the face, the head, and what the camera recorded."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

# MediaPipe's outline of the face, in order, from the top of the forehead.
FACE_OUTLINE = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
FOREHEAD, CHIN = 10, 152
NECK = 0.15  # of the face's height below the chin: the person above it is the head
BLACK = 6  # levels; resampling leaves traces of the picture in the padding
_FINE = 4  # a mask is drawn so much finer, and then holds pixels that are covered by half


def face(
    landmarks_px: Float[np.ndarray, "478 2"], image_side: int, side: int
) -> Bool[np.ndarray, "s s"]:
    """The inside of the outline of the tracked face.

    Args:
        image_side: of the crop that the landmarks are in, in pixels.
        side: of the mask.
    """
    outline = np.asarray(landmarks_px)[list(FACE_OUTLINE)] * (side * _FINE / image_side)
    canvas = Image.new("L", (side * _FINE, side * _FINE))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX)) >= 128


def head(
    matte: UInt8[np.ndarray, "h w"], landmarks_px: Float[np.ndarray, "478 2"], side: int
) -> Bool[np.ndarray, "s s"]:
    """The person above the neck, hair included."""
    scale = side / matte.shape[0]
    person = np.asarray(Image.fromarray(matte).resize((side, side), Image.Resampling.BOX)) >= 128
    top, chin = (float(landmarks_px[i, 1]) * scale for i in (FOREHEAD, CHIN))
    rows = np.arange(side)[:, None] + 0.5
    return person & (rows < chin + NECK * (chin - top))


def recorded(image: UInt8[np.ndarray, "h w 3"], side: int) -> Bool[np.ndarray, "s s"]:
    """Without the black rows and columns that a crop has beyond the source's borders."""
    bright = image.max(axis=-1) > BLACK
    rows, columns = (_span(bright.any(axis=axis)) for axis in (1, 0))
    inside = np.zeros(bright.shape, np.uint8)
    inside[rows, columns] = 255
    return np.asarray(Image.fromarray(inside).resize((side, side), Image.Resampling.BOX)) == 255


def _span(lit: np.ndarray) -> slice:
    where = np.flatnonzero(lit)
    return slice(where[0], where[-1] + 1) if len(where) else slice(0, 0)
