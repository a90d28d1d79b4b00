"""Pictures: side by side frames, and contact sheets with labels."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files

Picture = UInt8[np.ndarray, "h w 3"]
_GAP = 4  # pixels between tiles
_PAPER, _INK = 255, 30


def to_uint8(image: Float[np.ndarray, "*b h w 3"]) -> UInt8[np.ndarray, "*b h w 3"]:
    """Turns [-1, 1] into 0..255, rounding to nearest; values outside are clipped."""
    return np.clip(np.rint((np.asarray(image) + 1) * 127.5), 0, 255).astype(np.uint8)


def resize(image: Picture, height: int) -> Picture:
    """Scales a picture to a height in pixels, keeping its shape; Lanczos filter."""
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def side_by_side(images: Sequence[Picture]) -> Picture:
    """Sets pictures in a row, all at the height of the tallest."""
    height = max(image.shape[0] for image in images)
    return np.concatenate([resize(image, height) for image in images], axis=1)


def contact_sheet(
    rows: Sequence[Sequence[Picture]],
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    tile: int = 192,
) -> Picture:
    """Lays pictures out in rows, with words above the columns and before the rows.

    Args:
        tile: height of every picture in pixels; a column is as wide as its widest one.

    Raises:
        ValueError: there is no picture.
    """
    if not any(len(row) for row in rows):
        raise ValueError("a contact sheet needs at least one picture, got none")
    rows = [[resize(image, tile) for image in row] for row in rows]
    letters = max(11, tile // 14)  # pixels
    font = ImageFont.load_default(size=letters)
    columns = max(len(row) for row in rows)
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    left = _GAP + max([round(font.getlength(text)) + 2 * _GAP for text in row_labels], default=0)
    line = round(letters * 1.4)
    top = _GAP + (line if column_labels else 0)
    xs = left + np.cumsum([0, *(w + _GAP for w in widths)])
    size = (int(xs[-1]), top + len(rows) * (tile + _GAP))
    sheet = Image.new("RGB", size, (_PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    for text, x in zip(column_labels, xs, strict=False):
        draw.text((int(x), _GAP), text, (_INK,) * 3, font)
    for index, row in enumerate(rows):
        y = top + index * (tile + _GAP)
        if index < len(row_labels):
            draw.text((_GAP, y + (tile - line) // 2), row_labels[index], (_INK,) * 3, font)
        for image, x in zip(row, xs, strict=False):
            sheet.paste(Image.fromarray(image), (int(x), y))
    return np.asarray(sheet)


def write_png(path: str | os.PathLike, image: Picture) -> None:
    """Writes a PNG.

    Raises:
        UserError: no room on the disk, or a name that does not end in .png.
    """
    if not str(path).lower().endswith(".png"):
        raise UserError(f"{path}: pictures are written as PNG; give a name that ends in .png.")
    with files.replacing(path) as temporary:
        Image.fromarray(image).save(temporary, "PNG")
