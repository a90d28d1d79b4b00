"""Convolutions as matrix products over blocks of rows: what CPUs compute fastest.

XLA:CPU reaches the processor's bfloat16 units from a matrix product with a float32 result
alone, not from a convolution. A block's products stay in a core's cache.

In here the pixels of a bfloat16 image are moved as their bits (uint16). XLA:CPU moves
bfloat16 by way of float32, and would convert the whole image for every block it writes.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.ops.upfirdn import BINOMIAL

_BLOCK_PIXELS = 2048  # of the result, before it is doubled: the fastest of 1024 to 8192
_FEW_PIXELS = 256  # of the input: rounding the weight costs more than the product saves
_CHANNELS = 32  # the fewest that make a product faster than XLA's convolution
_GAIN = 2.0  # of each axis's filter, which spreads a pixel over two


def pays(x: Float[Array, "b h w i"]) -> bool:
    """Whether a CPU convolves the image faster in this way than in XLA's."""
    return x.dtype == jnp.bfloat16 and x.shape[-1] >= _CHANNELS


def operand_type(x: Float[Array, "b h w i"]) -> jnp.dtype:
    """What to round an image and its weight to: float32 for few pixels of bfloat16."""
    few = x.shape[0] * x.shape[1] * x.shape[2] < _FEW_PIXELS
    return jnp.dtype(jnp.float32) if few and x.dtype == jnp.bfloat16 else x.dtype


def _bits(x):
    return lax.bitcast_convert_type(x, jnp.uint16) if x.dtype == jnp.bfloat16 else x


def _numbers(bits, dtype):
    return lax.bitcast_convert_type(bits, dtype) if dtype == jnp.bfloat16 else bits


def _block_rows(count: int, pixels_of_row: int) -> int:
    """Rows of a block: they divide all rows, and their pixels fit."""
    most = max(1, _BLOCK_PIXELS // pixels_of_row)
    return next(rows for rows in range(min(most, count), 0, -1) if count % rows == 0)


def _map_rows(bits, count: int, step: int, size: int, compute: Callable):
    """Computes blocks [b size w c] -> [b rows p o], one for every `step` rows of an image."""
    if count == 1:
        return compute(bits[:, :size])
    block = lambda i: compute(lax.dynamic_slice_in_dim(bits, i * step, size, axis=1))
    blocks = lax.map(block, jnp.arange(count)).swapaxes(0, 1)
    return blocks.reshape(blocks.shape[0], -1, *blocks.shape[3:])


def _product(bits, weight):
    """Pixels times a matrix, summed in float32 at least."""
    pixels = _numbers(bits, weight.dtype).reshape(-1, bits.shape[-1])
    wide = jnp.promote_types(weight.dtype, jnp.float32)
    total = lax.dot(pixels, weight, preferred_element_type=wide)
    return total.reshape(*bits.shape[:-1], -1)


def correlate(
    x: Float[Array, "b h w i"], weight: Float[Array, "k k i o"], stride: int, padding: int
) -> Float[Array, "b p q o"]:
    """The result of ops.conv.conv2d, rounded to the type of x after sums in float32."""
    k, _, channels, features = weight.shape
    height, width = ((side + 2 * padding - k) // stride + 1 for side in x.shape[1:3])
    rows = _block_rows(height, width * x.shape[0])
    padded = jnp.pad(_bits(x), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    by_row = weight.reshape(k, k * channels, features)

    def compute(block):
        reach = (width - 1) * stride + 1
        columns = [block[:, :, j : j + reach : stride] for j in range(k)]
        columns = jnp.concatenate(columns, -1)
        reach = (rows - 1) * stride + 1
        taps = [_product(columns[:, i : i + reach : stride], by_row[i]) for i in range(k)]
        return _bits(sum(taps[1:], taps[0]).astype(x.dtype))

    y = _map_rows(padded, height // rows, rows * stride, (rows - 1) * stride + k, compute)
    return _numbers(y, x.dtype)


def double(x: Float[Array, "b h w i"], weight: Float[Array, "3 3 i o"]) -> Float[Array, "b p q o"]:
    """The result of ops.resample.conv2d_up for a 3 x 3 weight.

    Pixels of the transposed convolution come in four phases, by the parity of their row and
    column, with 4, 2, 2 and 1 taps: no product with an inserted zero. The filter follows in
    the block; one row of phases above and below the block is computed for it.
    """
    height, width = x.shape[1:3]
    rows = _block_rows(height, width * x.shape[0])
    padded = jnp.pad(_bits(x), ((0, 0), (2, 1), (2, 1), (0, 0)))
    even = jnp.concatenate([weight[:, 0], weight[:, 2]], 1)  # [row tap, both column taps, o]
    odd = weight[:, 1]

    def compute(block):
        here, left = block[:, :, 1:], block[:, :, :-1]
        both = jnp.concatenate([here, left], -1)
        phases = [_row_phases(both, even), _row_phases(here, odd)]  # by parity of the column
        filtered = [_filter(*pair, axis=1) for pair in phases]  # [column parity][row parity]
        pixels = [_filter(*pair, axis=2) for pair in zip(*filtered, strict=True)]
        y = jnp.stack([jnp.stack(row, 3) for row in pixels], 2)
        y = y.reshape(y.shape[0], 2 * rows, 2 * width, y.shape[-1])
        return _bits(y.astype(x.dtype))

    return _numbers(_map_rows(padded, height // rows, rows, rows + 3, compute), x.dtype)


def _row_phases(bits, weight):
    """Even and odd rows of the transposed convolution, for all rows of `bits` but the first."""
    features = weight.shape[-1]
    below = _product(bits[:, 1:], jnp.concatenate([weight[0], weight[1]], -1))
    above = _product(bits[:, :-1], weight[2])
    return below[..., :features] + above, below[..., features:]


def _filter(even, odd, axis: int):
    """Filters interleaved pixels; returns even and odd ones, without the first and the last."""
    outer, inner = (np.float32(_GAIN * tap) for tap in BINOMIAL[:2])
    at = lambda x, i: lax.slice_in_dim(x, i, i + x.shape[axis] - 2, axis=axis)
    return (
        outer * (at(odd, 0) + at(even, 2)) + inner * (at(even, 1) + at(odd, 1)),
        outer * (at(even, 1) + at(odd, 2)) + inner * (at(odd, 1) + at(even, 2)),
    )
