"""FIR filtering with up- and down-sampling by whole factors."""

import functools

import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.ops import banded

# The released models' only filter, one axis of it; its sum is 1.
BINOMIAL = (0.125, 0.375, 0.375, 0.125)


def filter_1331() -> Float[np.ndarray, "4 4"]:
    """The filter [1, 3, 3, 1] in two dimensions, with sum 1."""
    return np.outer(BINOMIAL, BINOMIAL)


def gaussian(sigma_px: float) -> Float[np.ndarray, " n"]:
    """One axis of a Gaussian filter with sum 1: 2^-(x / sigma)^2 up to x = 3 sigma.

    Source: the blur of the discriminator's images in the released training.
    """
    reach = int(sigma_px * 3)
    weights = np.exp2(-np.square(np.arange(-reach, reach + 1) / sigma_px))
    return weights / weights.sum()


@functools.lru_cache
def _fir(size: int, taps: tuple, up: int, down: int, low: int, high: int) -> banded.Bands:
    """The matrix of: insert zeros, pad (or crop, if negative), correlate, take every down-th."""
    count = (size * up + low + high - len(taps)) // down + 1
    matrix = np.zeros((count, size))
    source = np.arange(count)[:, None] * down + np.arange(len(taps)) - low
    kept = (source % up == 0) & (source >= 0) & (source < size * up)
    # a crop removes samples that the taps would still reach
    kept &= (source >= -low) & (source < size * up + high)
    row, tap = np.nonzero(kept)
    matrix[row, source[row, tap] // up] = np.asarray(taps)[tap]
    return banded.bands(matrix)


def upfirdn2d(
    x: Float[Array, "*b h w c"],
    taps: Float[np.ndarray, "..."] | tuple[float, ...],
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip: bool = False,
    gain: float = 1.0,
) -> Float[Array, "*b p q c"]:
    """Inserts zeros, pads, convolves with constant taps, and takes every down-th pixel.

    Args:
        taps: one axis of a separable filter, or (rows, columns) of any filter.
        padding: left, right, top, bottom, after the zeros; negative values crop.
        flip: correlate in place of convolving.
        gain: factor on the result.

    Raises:
        ValueError: taps have more than two dimensions.

    Source: SPEC section 2.
    """
    kernel = np.asarray(taps, np.float64)
    if kernel.ndim > 2:
        raise ValueError(f"taps: got {kernel.ndim} dimensions, expected 1 or 2")
    if not flip:
        kernel = np.flip(kernel)
    left, right, top, bottom = padding
    height, width = x.shape[-3:-1]
    if kernel.ndim == 1:
        across = tuple((kernel * gain).tolist())
        rows = _fir(height, tuple(kernel.tolist()), up, down, top, bottom)
        columns = _fir(width, across, up, down, left, right)
        return banded.apply_rows_columns(x, rows, columns)
    total = 0.0
    for one_row, taps_of_row in zip(np.eye(len(kernel)), kernel, strict=True):
        across = tuple((taps_of_row * gain).tolist())
        rows = _fir(height, tuple(one_row.tolist()), up, down, top, bottom)
        columns = _fir(width, across, up, down, left, right)
        total = total + banded.apply_rows_columns(x, rows, columns)
    return total


def upsample2d(x: Float[Array, "*b h w c"]) -> Float[Array, "*b 2*h 2*w c"]:
    """Doubles both sides with the [1, 3, 3, 1] filter."""
    return upfirdn2d(x, BINOMIAL, up=2, padding=(2, 1, 2, 1), gain=4.0)


def downsample2d(x: Float[Array, "*b h w c"]) -> Float[Array, "*b p q c"]:
    """Halves both sides (rounding down) with the [1, 3, 3, 1] filter."""
    return upfirdn2d(x, BINOMIAL, down=2, padding=(1, 1, 1, 1))


def filter2d(
    x: Float[Array, "*b h w c"], taps: tuple[float, ...] = BINOMIAL
) -> Float[Array, "*b h w c"]:
    """Convolves with a separable filter, keeping the size; zeros outside."""
    low, high = len(taps) // 2, (len(taps) - 1) // 2
    return upfirdn2d(x, taps, padding=(low, high, low, high))
