"""Linear maps along one axis whose matrices are constants with few entries a row.

Every resampling of images here (FIR filters, resizes, average pools) is two such maps.
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


def bands(matrix: Float[np.ndarray, "m n"]) -> Bands:
    """Packs a matrix; rows of zeros are allowed."""
    rows, columns = matrix.shape
    used = matrix != 0
    first = np.where(used.any(1), used.argmax(1), 0)
    last = np.where(used.any(1), columns - 1 - used[:, ::-1].argmax(1), 0)
    width = int((last - first).max()) + 1
    first = np.minimum(first, columns - width)
    taps = [tuple(matrix[np.arange(rows), first + i].tolist()) for i in range(width)]
    return Bands(columns, tuple(first.tolist()), tuple(taps))


def dense(packed: Bands) -> Float[np.ndarray, "m n"]:
    """The matrix that `bands` packed."""
    rows = np.arange(len(packed.first))
    matrix = np.zeros((len(rows), packed.columns))
    for i, taps in enumerate(packed.taps):
        matrix[rows, np.asarray(packed.first) + i] = taps
    return matrix


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def apply_along(x: Float[Array, "..."], axis: int, packed: Bands) -> Float[Array, "..."]:
    """Multiplies `x` along `axis` (counted from the front) by the matrix.

    Deviation: a gradient of our own, the same map with the transposed matrix. The scatter
    that autodiff makes of a gather is 10 to 50 times slower on XLA:CPU.
    """
    if len(packed.taps) > _WIDEST:
        matrix = jnp.asarray(dense(packed), x.dtype)
        product = jnp.tensordot(x, matrix, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
        return jnp.moveaxis(product, -1, axis)
    x = jnp.asarray(x)
    first = np.asarray(packed.first)
    along = [-1 if i == axis else 1 for i in range(x.ndim)]
    before = (slice(None),) * axis
    total = jnp.zeros((), x.dtype)
    for i, taps in enumerate(packed.taps):
        rows = x.at[(*before, first + i)].get(mode="promise_in_bounds")
        total = total + rows * jnp.asarray(taps, x.dtype).reshape(along)
    return total


def _forward_rule(x, axis, packed):
    return apply_along(x, axis, packed), None


def _backward_rule(axis, packed, _, grad):
    return (apply_along(grad, axis, bands(dense(packed).T)),)


apply_along.defvjp(_forward_rule, _backward_rule)


def apply_rows_columns(
    x: Float[Array, "*b h w c"], rows: Bands, columns: Bands
) -> Float[Array, "*b p q c"]:
    """Maps the rows and the columns of images."""
    return apply_along(apply_along(x, x.ndim - 3, rows), x.ndim - 2, columns)
