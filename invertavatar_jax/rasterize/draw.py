"""A texture drawn through (u, v) coordinates, and shrunk to its own size."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.resize import resize_antialias

# Up to this side a matrix of side^2 x side^2 is faster than sampling every channel at every
# pixel; its size grows with the fourth power of the side.
MATRIX_SIDE = 32


def draw(
    textures: list[Float[Array, "b h w c"]], grid: Float[Array, "b r r 2"]
) -> list[Float[Array, "b h w c"]]:
    """Samples square textures at the r x r positions of grid, then shrinks to each one's size.

    Both steps are linear, and the same for all channels: for small textures their product is
    made once as a matrix. No gradient reaches the grid. SPEC section 5.

    Args:
        grid: (u, v) in [-1, 1]; textures are zero outside.
    """
    grid = jax.lax.stop_gradient(grid)
    matrices, drawn = {}, []
    for texture in textures:
        side = texture.shape[1]
        if not 2 <= side <= min(MATRIX_SIDE, grid.shape[1]):
            drawn.append(resize_antialias(grid_sample(texture, grid), texture.shape[1:3]))
            continue
        if side not in matrices:
            matrices[side] = draw_matrix(grid, side)
        flat = texture.reshape(texture.shape[0], side * side, -1)
        product = jnp.einsum(
            "bot,btc->boc", matrices[side], flat, precision=jax.lax.Precision.HIGHEST
        )
        drawn.append(product.reshape(texture.shape))
    return drawn


def draw_matrix(grid: Float[Array, "b r r 2"], side: int) -> Float[Array, "b o t"]:
    """What each texel t adds to each pixel o of the shrunk drawing; o = t = side^2.

    A raster pixel reads 2 x 2 texels and adds to 2 x 2 pixels of the shrunk image: 16
    entries, of which pairs of texels are neighbours in memory.

    Args:
        side: of the texture, 2 <= side <= r.
    """
    b, r = grid.shape[:2]
    out, out_weight = _shrunk_pixels(r, side)
    column, column_weight = _texels(grid[..., 0], side)
    row, row_weight = _texels(grid[..., 1], side)
    # axes from here on: b, raster row, raster column, pixel row, pixel column, texel row
    pixel = out[:, None, :, None] * side + out[None, :, None, :]
    pixel_weight = out_weight[:, None, :, None] * out_weight[None, :, None, :]
    start = jnp.arange(b, dtype=jnp.int32).reshape(b, 1, 1, 1, 1) * side**2 + pixel
    rows = row[..., None, None, None] + jnp.arange(2, dtype=jnp.int32)
    index = start[..., None] * side**2 + rows * side + column[..., None, None, None]
    weight = pixel_weight[..., None] * row_weight[:, :, :, None, None]
    weight = weight[..., None] * column_weight[:, :, :, None, None, None]
    numbers = jax.lax.ScatterDimensionNumbers((1,), (), (0,))
    matrix = jax.lax.scatter_add(
        jnp.zeros(b * side**4, grid.dtype),
        index.reshape(-1, 1),
        weight.reshape(-1, 2),
        numbers,
        mode="promise_in_bounds",
    )
    return matrix.reshape(b, side**2, side**2)


def _shrunk_pixels(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels of an antialiased shrinking that each source pixel adds to; weights."""
    scale = source / target
    position = np.arange(source)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - centres) / scale)
    weights /= weights.sum(0)
    first = np.clip(np.floor((position + 0.5) / scale - 0.5), 0, target - 2).astype(np.int32)
    pixels = first[:, None] + np.arange(2, dtype=np.int32)
    return pixels, np.take_along_axis(weights, pixels, 1).astype(np.float32)


def _texels(coordinate: Float[Array, "b r r"], side: int) -> tuple[Array, Float[Array, "b r r 2"]]:
    """The first of two neighbouring texels that hold a bilinear sample, and their weights."""
    position = jnp.clip((coordinate + 1.0) * (side / 2) - 0.5, -1.0, side)
    first = jnp.clip(jnp.floor(position), 0, side - 2)
    texels = first[..., None] + jnp.arange(2.0)
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(position[..., None] - texels))
    return first.astype(jnp.int32), weights
