"""Checks of pictures by themselves: images, UV textures, masks and contours."""

import numpy as np

from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.doctor.frame_files import Picture
from invertavatar_jax.data.released import SIDE

IMAGE_SIDE = 512
FLAT = 2.0  # levels: the standard deviation of a picture that shows nothing
GREY = ("1", "L", "RGB")  # masks may repeat their channel
EMPTY, FULL = 0.005, 0.995  # shares of a mask


def picture_is_stored_as_png(picture: Picture) -> Problem | None:
    """The content is what the name says: JPEG's losses move a mask's edges."""
    if picture.format != "PNG":
        return Problem("format", "PNG", picture.format, "save it as PNG, from the source")
    return None


def picture_has_8_bit_colours(colours: Picture) -> Problem | None:
    """RGB with 8 bits, without transparency."""
    if colours.mode != "RGB":
        return Problem("colours", "8 bit RGB", _words(colours.mode), "convert it to RGB")
    return None


def mask_has_8_bit_levels(mask: Picture) -> Problem | None:
    """One channel of 8 bits, or three alike."""
    if mask.mode not in GREY:
        return Problem("levels", "8 bits", _words(mask.mode), "convert it to 8 bit grey")
    return None


def image_is_square(image: Picture) -> Problem | None:
    """Crops are square."""
    if image.levels.shape[0] != image.levels.shape[1]:
        return Problem("size", "a square", _size(image), "crop it anew around the head")
    return None


def image_has_the_layouts_size(image: Picture) -> Problem | None:
    """Crops are 512 x 512."""
    return _sized(image, IMAGE_SIDE)


def texture_has_the_layouts_size(texture: Picture) -> Problem | None:
    """UV textures are 256 x 256."""
    return _sized(texture, SIDE)


def mask_has_the_images_size(mask: Picture) -> Problem | None:
    """Masks are 512 x 512."""
    return _sized(mask, IMAGE_SIDE)


def contours_have_the_images_size(contours: Picture) -> Problem | None:
    """Landmark pictures are 512 x 512."""
    return _sized(contours, IMAGE_SIDE)


def image_shows_something(image: Picture) -> Problem | None:
    """No picture is black or of one colour."""
    some = image.levels[::4, ::4].reshape(-1, 3)
    if some.std(0).max() < FLAT:
        colour = some.mean(0).round().astype(int).tolist()
        return Problem("content", "a picture", f"one colour, {colour}", "leave the frame out")
    return None


def mask_goes_up_to_255(mask: Picture) -> Problem | None:
    """Above 127 is the person: masks of 0 and 1, or of class numbers, show none."""
    top = int(mask.levels[..., 0].max())
    if 0 < top <= 127:
        return Problem("levels", "255 on the person", f"at most {top}", "write 0 and 255")
    return None


def mask_is_not_empty(mask: Picture) -> Problem | None:
    """A mask shows someone."""
    share = _share(mask)
    if share < EMPTY:
        found, fix = f"{share:.1%} of the picture", "segment the picture again"
        return Problem("content", "a person", found, fix)
    return None


def mask_is_not_full(mask: Picture) -> Problem | None:
    """A mask leaves something out."""
    share = _share(mask)
    if share > FULL:
        found, fix = f"{share:.1%} of the picture", "segment the picture again"
        return Problem("content", "a background", found, fix)
    return None


CHECKS = (
    picture_is_stored_as_png,
    picture_has_8_bit_colours,
    mask_has_8_bit_levels,
    image_is_square,
    image_has_the_layouts_size,
    texture_has_the_layouts_size,
    mask_has_the_images_size,
    contours_have_the_images_size,
    image_shows_something,
    mask_goes_up_to_255,
    mask_is_not_empty,
    mask_is_not_full,
)


def _share(mask: Picture) -> float:
    return float((mask.levels[..., 0] > 127).mean())


def _sized(picture: Picture, side: int) -> Problem | None:
    if picture.levels.shape[:2] != (side, side):
        fix = f"make it anew at {side} x {side}"
        return Problem("size", f"{side} x {side} pixels", _size(picture), fix)
    return None


def _size(picture: Picture) -> str:
    return f"{picture.levels.shape[1]} x {picture.levels.shape[0]} pixels"


def _words(mode: str) -> str:
    known = {"L": "grey", "LA": "grey with transparency", "RGBA": "RGB with transparency"}
    known |= {"P": "a palette", "1": "1 bit", "CMYK": "CMYK"}
    return known.get(mode, "16 bits" if mode.startswith("I") else mode)


def grey(mask: Picture) -> np.ndarray:
    """Where a mask shows its person."""
    return mask.levels[..., 0] > 127
