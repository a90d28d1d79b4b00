"""Which triangle each pixel sees, in pure XLA: a list of 2 x 2-pixel blocks and scatter-mins.

Every triangle lists the blocks of its bounding box. All lists stand behind each other in one
array of static length, so the cost follows the area of the boxes and not triangles x pixels,
and one list serves many views. Each pixel of each block then offers (depth, triangle) to its
place in the image, where the smallest offer stays.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from invertavatar_jax.rasterize import faces
from invertavatar_jax.rasterize.faces import Cull, Plane

Keys = Literal["u64", "2xu32"]

BLOCK = 2  # pixels on a block's side: divides the list's length by up to four
OFFSETS = tuple((row, column) for row in range(BLOCK) for column in range(BLOCK))
NOBODY = np.uint32(0xFFFFFFFF)  # the bits of -1


class Blocks(NamedTuple):
    """One entry of the list each: a triangle and a block of pixels that it may cover."""

    face: Plane
    x: Array  # of the first pixel's centre
    y: Array
    place: Array  # the first pixel's number in the images
    owner: Array  # the triangle's number among those of all views


def triangle_ids(
    vertices: Float[Array, "b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    keys: Keys | None = None,
) -> tuple[Int[Array, "b h w"], Int[Array, ""]]:
    """Finds the nearest triangle of every pixel; the lowest number wins a tie.

    Args:
        vertices: x, y in pixels (the first pixel's centre is (.5, .5)) and z, of any sign,
            smallest = nearest, affine on the screen. Triangles with a corner that is not
            finite, or without area, are not drawn.
        capacity: length of the block list.
        cull: the winding, as seen with row 0 at the top, that is not drawn.
        keys: scatters of 64-bit keys, or twice as many of 32 bits for devices without them;
            None chooses by the device.

    Returns:
        triangle numbers, -1 where there is none, and the length that the list needs. The
        image is only valid where that does not exceed `capacity`.
    """
    batch, count = vertices.shape[0], triangles.shape[0]
    if count == 0:
        return jnp.full((batch, height, width), -1, jnp.int32), jnp.int32(0)
    rows, columns = max(height, BLOCK), max(width, BLOCK)  # a block must fit in
    corners = faces.gather_corners(lax.stop_gradient(vertices), triangles)
    number = _blocks(corners.x, columns) * _blocks(corners.y, rows)
    number = jnp.where(faces.is_drawn(corners, cull), number, 0)
    owner, rank, needed = faces.expand(number, capacity)
    blocks = _store(
        needed, lambda: _list_blocks(corners, owner, rank, needed, count, rows, columns)
    )
    ids = _nearest(blocks, batch * rows * columns, columns, keys)
    ids = lax.bitcast_convert_type(ids, jnp.int32).reshape(batch, rows, columns)
    first = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * count
    return jnp.where(ids >= 0, ids - first, -1)[:, :height, :width], needed


def _blocks(values: tuple[Array, Array, Array], size: int) -> Array:
    first, last = faces.extent(values, size)
    return jnp.maximum(last - first + BLOCK, 0) // BLOCK


def _list_blocks(
    corners: faces.Corners,
    owner: Array,
    rank: Array,
    needed: Array,
    count: int,
    rows: int,
    columns: int,
) -> Blocks:
    corners = faces.pick_corners(corners, owner)
    face = faces.plane(corners)
    used = jnp.arange(owner.shape[0], dtype=jnp.int32) < needed
    face = face._replace(slack=jnp.where(used, face.slack, -jnp.inf))
    across = jnp.maximum(_blocks(corners.x, columns), 1)
    down = lax.div(rank, across)
    # blocks are moved into the image: to test a pixel twice does no harm
    x_first, y_first = faces.extent(corners.x, columns)[0], faces.extent(corners.y, rows)[0]
    column = jnp.clip(x_first + (rank - down * across) * BLOCK, 0, columns - BLOCK)
    row = jnp.clip(y_first + down * BLOCK, 0, rows - BLOCK)
    place = (owner // count * rows + row) * columns + column
    centre = lambda index: index.astype(jnp.float32) + 0.5
    return Blocks(face, centre(column), centre(row), place, owner)


def _store(needed: Array, compute: Callable[[], Blocks]) -> Blocks:
    """compute(); on a CPU XLA must keep its results, or works them out again for each pixel."""
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(compute))
    nothing = zeros._replace(face=zeros.face._replace(slack=zeros.face.slack - 1))
    # a branch ends with its results in memory; on a GPU the host would wait to choose it
    kept = lambda: lax.cond(needed > 0, compute, lambda: nothing)
    return lax.platform_dependent(cpu=kept, default=compute)


def _offers(blocks: Blocks, columns: int) -> list[tuple[Array, Array, Array]]:
    """Place, depth and triangle of each pixel of the blocks; nobody's where it is outside."""
    offers = []
    for row, column in OFFSETS:
        x, y = blocks.x + np.float32(column), blocks.y + np.float32(row)
        depth, inside = faces.test_pixel(blocks.face, x, y)
        either = lambda value: jnp.where(inside, value, NOBODY)  # noqa: B023
        owner = blocks.owner.astype(jnp.uint32)
        place = blocks.place + np.int32(row * columns + column)
        offers.append((place, either(_ordered_bits(depth)), either(owner)))
    return offers


def _ordered_bits(value: Array) -> Array:
    """Maps float32 to uint32 so that unsigned order is the floats' order."""
    bits = lax.bitcast_convert_type(value + 0.0, jnp.uint32)  # + 0 makes -0 and 0 one
    negative = bits >> 31 == 1
    return jnp.where(negative, ~bits, bits | np.uint32(1 << 31))


def _nearest(blocks: Blocks, pixels: int, columns: int, keys: Keys | None) -> Array:
    wide = lambda blocks: _nearest_u64(_offers(blocks, columns), pixels)
    narrow = lambda blocks: _nearest_2xu32(_offers(blocks, columns), pixels)
    if keys is None:  # 64-bit integers are emulated on a TPU
        return lax.platform_dependent(blocks, tpu=narrow, default=wide)
    return (wide if keys == "u64" else narrow)(blocks)


def _nearest_u64(offers: list[tuple[Array, Array, Array]], pixels: int) -> Array:
    # 64-bit integers exist only under this flag, whatever the caller's setting is
    with jax.enable_x64(True):
        wide = lambda bits: lax.convert_element_type(bits, jnp.uint64)
        best = lax.full((pixels,), np.uint64(2**64 - 1), jnp.uint64)
        for place, depth, owner in offers:
            key = lax.shift_left(wide(depth), np.uint64(32)) | wide(owner)
            best = best.at[place].min(key, mode="promise_in_bounds")
        return lax.convert_element_type(best & np.uint64(NOBODY), jnp.uint32)


def _nearest_2xu32(offers: list[tuple[Array, Array, Array]], pixels: int) -> Array:
    front = jnp.full((pixels,), NOBODY)
    for place, depth, _ in offers:
        front = front.at[place].min(depth, mode="promise_in_bounds")
    best = jnp.full((pixels,), NOBODY)
    for place, depth, owner in offers:
        wins = depth == faces.pick(front, place)
        best = best.at[place].min(jnp.where(wins, owner, NOBODY), mode="promise_in_bounds")
    return best
