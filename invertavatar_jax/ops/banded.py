"""Linear maps along the axes of images whose matrices are constants with few entries a row.

Every resampling of images here (FIR filters, resizes, average pools) is such a map.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Wider rows cost more as gathers than as a dense product.
_WIDEST = 32


class Bands(NamedTuple):
    """A constant matrix, hashable: row i holds taps[:, i] from column first[i] on."""

    columns: int
    first: tuple[int, ...]
    taps: tuple[tuple[float, ...], ...]
    diagonals: tuple[tuple[int, float], ...] | None  # (offset, value), if that is all there is


def bands(matrix: Float[np.ndarray, "m n"]) -> Bands:
    """Packs a matrix; rows of zeros are allowed."""
    rows, columns = matrix.shape
    used = matrix != 0
    first = np.where(used.any(1), used.argmax(1), 0)
    last = np.where(used.any(1), columns - 1 - used[:, ::-1].argmax(1), 0)
    width = int((last - first).max()) + 1
    first = np.minimum(first, columns - width)
    taps = [tuple(matrix[np.arange(rows), first + i].tolist()) for i in range(width)]
    return Bands(columns, tuple(first.tolist()), tuple(taps), _diagonals(matrix))


def _diagonals(matrix: Float[np.ndarray, "m n"]) -> tuple[tuple[int, float], ...] | None:
    if not np.array_equal(matrix[1:, 1:], matrix[:-1, :-1]):
        return None
    rows, columns = matrix.shape
    values = [(i, float(np.diagonal(matrix, i)[0])) for i in range(1 - rows, columns)]
    return tuple((offset, value) for offset, value in values if value)


def dense(packed: Bands) -> Float[np.ndarray, "m n"]:
    """The matrix that `bands` packed."""
    rows = np.arange(len(packed.first))
    matrix = np.zeros((len(rows), packed.columns))
    for i, taps in enumerate(packed.taps):
        matrix[rows, np.asarray(packed.first) + i] = taps
    return matrix


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def apply_rows_columns(
    x: Float[Array, "*b h w c"], rows: Bands, columns: Bands
) -> Float[Array, "*b p q c"]:
    """Multiplies images by one matrix along their rows and by one along their columns.

    Deviation: a gradient of our own, the same map with the transposed matrices. The scatter
    that autodiff makes of a gather is 10 to 50 times slower on XLA:CPU.
    """
    x = jnp.asarray(x)
    vertical, horizontal = x.ndim - 3, x.ndim - 2
    if rows.diagonals is not None and columns.diagonals is not None:
        # cheaper than gathers wherever XLA computes the result anew for each of its readers
        ends = [(0, 0, 0)] * x.ndim
        ends[vertical], ends[horizontal] = _padding(rows), _padding(columns)
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), ends)
        return _sum_of_shifts(_sum_of_shifts(x, vertical, rows), horizontal, columns)
    return _along(_along(x, vertical, rows), horizontal, columns)


def _padding(packed: Bands) -> tuple[int, int, int]:
    """Zeros before, after and between the entries that _sum_of_shifts reads."""
    offsets = [offset for offset, _ in packed.diagonals or ()] or [0]
    return max(0, -min(offsets)), max(0, len(packed.first) + max(offsets) - packed.columns), 0


def _sum_of_shifts(x, axis: int, packed: Bands):
    low, count = _padding(packed)[0], len(packed.first)
    total = jnp.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    for offset, value in packed.diagonals or ():
        shifted = jax.lax.slice_in_dim(x, low + offset, low + offset + count, axis=axis)
        total = total + shifted * jnp.asarray(value, x.dtype)
    return total


def _along(x, axis: int, packed: Bands):
    if len(packed.taps) > _WIDEST:
        matrix = jnp.asarray(dense(packed), x.dtype)
        product = jnp.tensordot(x, matrix, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
        return jnp.moveaxis(product, -1, axis)
    first = np.asarray(packed.first)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    before = (slice(None),) * axis
    total = jnp.zeros((), x.dtype)
    for i, taps in enumerate(packed.taps):
        entries = x.at[(*before, first + i)].get(mode="promise_in_bounds")
        total = total + entries * jnp.asarray(taps, x.dtype).reshape(shape)
    return total


def _forward_rule(x, rows, columns):
    return apply_rows_columns(x, rows, columns), None


def _backward_rule(rows, columns, _, grad):
    transposed = bands(dense(rows).T), bands(dense(columns).T)
    return (apply_rows_columns(grad, *transposed),)


apply_rows_columns.defvjp(_forward_rule, _backward_rule)
