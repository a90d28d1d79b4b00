"""Which triangle each pixel sees, as a Pallas kernel: one program for each tile of the image.

XLA sorts (tile, triangle) pairs by tile and lays out the triangles' coefficients in that order,
so that a program reads its list from front to back, a batch of triangles at a time against all
pixels of its tile. No two programs write the same pixel.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int

from invertavatar_jax.rasterize import faces
from invertavatar_jax.rasterize.faces import Cull, Plane

TILE = 16  # pixels on a tile's side
BATCH = 32  # triangles tested at once; a power of two for Triton, as the tile is
WARPS = 4
LAST = np.int32(2**31 - 1)  # behind every depth, above every triangle's number


def triangle_ids(
    vertices: Float[Array, "b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    interpret: bool = False,
) -> tuple[Int[Array, "b h w"], Int[Array, ""]]:
    """As `reference.triangle_ids`, for Nvidia GPUs, and by the same rules.

    Args:
        capacity: how many pairs of a triangle and a tile there may be.
        interpret: run the kernel as XLA operations on any device.

    Returns:
        triangle numbers, -1 where there is none, and the capacity that is needed. The image is
        only valid where that does not exceed `capacity`.
    """
    batch, count = vertices.shape[0], triangles.shape[0]
    if count == 0:
        return jnp.full((batch, height, width), -1, jnp.int32), jnp.int32(0)
    down, across = -(-height // TILE), -(-width // TILE)
    corners = faces.gather_corners(lax.stop_gradient(vertices), triangles)
    drawn = faces.is_drawn(corners, cull)
    tile, owner, needed = _list_tiles(corners, drawn, capacity, batch, height, width)
    ids = _draw_tiles(corners, tile, owner, (batch, down, across), interpret)
    ids = ids.reshape(batch, down, across, TILE, TILE).swapaxes(2, 3)
    ids = ids.reshape(batch, down * TILE, across * TILE)[:, :height, :width]
    first = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * count
    return jnp.where(ids == LAST, -1, ids - first), needed


def _list_tiles(
    corners: faces.Corners, drawn: Array, capacity: int, batch: int, height: int, width: int
) -> tuple[Array, Array, Array]:
    """Tile and triangle of every pair, sorted by tile; unused pairs have the tile after all."""
    (top, bottom), (left, right) = faces.extent(corners.y, height), faces.extent(corners.x, width)
    drawn &= (top <= bottom) & (left <= right)
    rows, columns = bottom // TILE - top // TILE + 1, right // TILE - left // TILE + 1
    owner, rank, needed = faces.expand(jnp.where(drawn, rows * columns, 0), capacity)
    size = jnp.maximum(faces.pick(columns, owner), 1)
    row = lax.div(rank, size)
    down, across = -(-height // TILE), -(-width // TILE)
    view = owner // (drawn.shape[0] // batch)
    tile = view * down + faces.pick(top // TILE, owner) + row
    tile = tile * across + faces.pick(left // TILE, owner) + rank - row * size
    used = jnp.arange(capacity, dtype=jnp.int32) < needed
    tile = jnp.where(used, tile, batch * down * across)
    return *lax.sort((tile, owner), num_keys=1), needed


def _draw_tiles(
    corners: faces.Corners,
    tile: Array,
    owner: Array,
    grid: tuple[int, int, int],
    interpret: bool,
) -> Int[Array, "tiles pixels"]:
    """The triangle of each pixel of each tile, or LAST."""
    number = int(np.prod(grid))
    edges = jnp.arange(number + 1, dtype=jnp.int32)
    start = jnp.searchsorted(tile, edges, method="scan_unrolled").astype(jnp.int32)
    owner = jnp.pad(owner, (0, BATCH))  # a batch may reach beyond the last list
    face = jnp.stack(faces.plane(faces.pick_corners(corners, owner)))
    whole = lambda array: pl.BlockSpec(array.shape, lambda _: (0,) * array.ndim)
    return pl.pallas_call(
        functools.partial(_tile_kernel, down=grid[1], across=grid[2]),
        grid=(number,),
        in_specs=[whole(start), whole(face), whole(owner)],
        out_specs=pl.BlockSpec((1, TILE * TILE), lambda tile: (tile, 0)),
        out_shape=jax.ShapeDtypeStruct((number, TILE * TILE), jnp.int32),
        interpret=interpret,
        # the one place that names a compiler of kernels: Mosaic GPU, the default, cannot lay
        # out reductions over lists of any length
        compiler_params=triton.CompilerParams(num_warps=WARPS),
    )(start, face, owner)


def _tile_kernel(start_ref, face_ref, owner_ref, ids_ref, *, down: int, across: int):
    tile = pl.program_id(0)
    begin, end = start_ref[tile], start_ref[tile + 1]
    pixel = lax.broadcasted_iota(jnp.int32, (TILE * TILE, 1), 0)
    x = (tile % across * TILE + pixel % TILE).astype(jnp.float32) + 0.5
    y = (tile // across % down * TILE + pixel // TILE).astype(jnp.float32) + 0.5
    lane = lax.broadcasted_iota(jnp.int32, (1, BATCH), 1)

    def test(number, nearest):
        depth, ids = nearest
        first = begin + number * BATCH
        some = pl.ds(first, BATCH)
        load = lambda ref, *row: ref[*row, some].reshape(1, BATCH)
        face = Plane(*(load(face_ref, k) for k in range(len(Plane._fields))))
        z, inside = faces.test_pixel(face, x, y)
        inside &= first + lane < end
        z = jnp.where(inside, _ordered(z), LAST)
        front = z.min(1, keepdims=True)
        owner = jnp.where(inside & (z == front), load(owner_ref), LAST).min(1, keepdims=True)
        wins = (front < depth) | ((front == depth) & (owner < ids))
        return jnp.where(wins, front, depth), jnp.where(wins, owner, ids)

    nobody = jnp.full((TILE * TILE, 1), LAST)
    batches = (end - begin + BATCH - 1) // BATCH
    ids_ref[...] = lax.fori_loop(0, batches, test, (nobody, nobody))[1].reshape(1, TILE * TILE)


def _ordered(value: Array) -> Array:
    """Maps float32 to int32 so that signed order is the floats' order."""
    bits = lax.bitcast_convert_type(value + 0.0, jnp.int32)  # + 0 makes -0 and 0 one
    return jnp.where(bits < 0, bits ^ LAST, bits)
