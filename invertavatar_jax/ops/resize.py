"""Changes of image size: bilinear in three conventions, average pool, pixel shuffle."""

import functools

import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.ops import banded


def _hat(source: int, centres: np.ndarray, support: float) -> banded.Bands:
    """Rows of triangle weights around `centres` (in pixels), each with sum 1."""
    distance = np.abs(np.arange(source) - centres[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    return banded.bands(weights / weights.sum(1, keepdims=True))


@functools.lru_cache
def _half_pixel(source: int, target: int, antialias: bool) -> banded.Bands:
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    if antialias:
        return _hat(source, centres, max(scale, 1.0))
    return _hat(source, np.clip(centres, 0, source - 1), 1.0)


@functools.lru_cache
def _corners(source: int, target: int) -> banded.Bands:
    return _hat(source, np.linspace(0, source - 1, target), 1.0)


@functools.lru_cache
def _means(source: int, target: int) -> banded.Bands:
    index = np.arange(target)
    start, stop = index * source // target, -(-(index + 1) * source // target)
    position = np.arange(source)
    inside = (position >= start[:, None]) & (position < stop[:, None])
    return banded.bands(inside / inside.sum(1, keepdims=True))


def resize_antialias(
    x: Float[Array, "*b h w c"], size: tuple[int, int]
) -> Float[Array, "*b p q c"]:
    """Resizes bilinearly; the triangle is as wide as the coarser of the two grids.

    Pixel centres lie at .5, as in all functions here but resize_align_corners.

    Source: SPEC section 2.
    """
    if tuple(x.shape[-3:-1]) == tuple(size):
        return x
    rows, columns = (_half_pixel(x.shape[i - 3], size[i], True) for i in (0, 1))
    return banded.apply_rows_columns(x, rows, columns)


def resize_bilinear(x: Float[Array, "*b h w c"], size: tuple[int, int]) -> Float[Array, "*b p q c"]:
    """Resizes bilinearly from the four nearest pixels, however much it shrinks."""
    rows, columns = (_half_pixel(x.shape[i - 3], size[i], False) for i in (0, 1))
    return banded.apply_rows_columns(x, rows, columns)


def resize_align_corners(
    x: Float[Array, "*b h w c"], size: tuple[int, int]
) -> Float[Array, "*b p q c"]:
    """Resizes bilinearly; the centres of the corner pixels stay where they are."""
    rows, columns = (_corners(x.shape[i - 3], size[i]) for i in (0, 1))
    return banded.apply_rows_columns(x, rows, columns)


def average_pool(x: Float[Array, "*b h w c"], size: tuple[int, int]) -> Float[Array, "*b p q c"]:
    """Means over the cells from i * h // p to ceil((i + 1) * h / p), which may overlap."""
    rows, columns = (_means(x.shape[i - 3], size[i]) for i in (0, 1))
    return banded.apply_rows_columns(x, rows, columns)


def pool_to(x: Float[Array, "*b h w c"], side: int) -> Float[Array, "*b s s c"]:
    """Average-pools to a square of `side` pixels; a square of that side stays as it is."""
    return x if x.shape[-3:-1] == (side, side) else average_pool(x, (side, side))


def pixel_shuffle(x: Float[Array, "*b h w c"], factor: int) -> Float[Array, "*b p q o"]:
    """Moves channels into pixels; channel o * factor^2 + i * factor + j goes to (i, j)."""
    *batch, h, w, c = x.shape
    o = c // factor**2
    cells = x.reshape(*batch, h, w, o, factor, factor)
    n = len(batch)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return cells.transpose(order).reshape(*batch, h * factor, w * factor, o)
