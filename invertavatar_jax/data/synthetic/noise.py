"""Small pictures that the painters share: smooth noise, soft polygons and steps, colours."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

Plane = Float[np.ndarray, "h w"]


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Gaussian noise of unit variance at the nodes of a coarse grid, interpolated."""
    grid = rng.standard_normal((cells + 2, cells + 2), np.float32)
    enlarged = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def soft_polygon(points: Float[np.ndarray, "n 2"], size: int, blur: float) -> Plane:
    """1 inside a polygon, 0 outside; row 0 is v = 0. Points in [0, 1], blur in texels."""
    picture = Image.new("L", (2 * size, 2 * size))
    ImageDraw.Draw(picture).polygon([tuple(p) for p in points * 2 * size], fill=255)
    return _soften(picture, size, blur)


def soft_line(points: Float[np.ndarray, "n 2"], size: int, width: float, blur: float) -> Plane:
    """1 along a polyline of a width in texels."""
    picture = Image.new("L", (2 * size, 2 * size))
    draw = ImageDraw.Draw(picture)
    draw.line([tuple(p) for p in points * 2 * size], fill=255, width=round(2 * width))
    return _soften(picture, size, blur)


def _soften(picture: Image.Image, size: int, blur: float) -> Plane:
    picture = picture.filter(ImageFilter.GaussianBlur(2 * blur))
    small = picture.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255.0


def step(x: np.ndarray, width: float) -> np.ndarray:
    """Rises from 0 to 1 around x = 0 over about four widths."""
    return 1.0 / (1.0 + np.exp(-np.clip(x / width, -30.0, 30.0)))


def bump(x: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian bell of height 1."""
    return np.exp(-0.5 * np.square(x / width))


def linear(srgb) -> np.ndarray:
    """sRGB in [0, 1] to linear light."""
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb < 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype("f4")


def mix(here: np.ndarray, there: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blends two pictures of colours by a plane of shares."""
    return here + (there - here) * share[..., None]
