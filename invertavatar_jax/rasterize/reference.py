"""Which triangle each pixel sees, in pure XLA: a list of 2 x 2-pixel blocks and one scatter-min.

Every triangle lists the blocks of its bounding box. All lists stand behind each other in one
array of static length, so the cost follows the area of the boxes and not triangles x pixels,
and one list serves many views. Each pixel of each block then offers (depth, triangle) to its
place in the image, where the smallest offer stays.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Cull = Literal["none", "clockwise", "counterclockwise"]
Keys = Literal["u64", "2xu32"]

BLOCK = 2  # pixels on a block's side: divides the list's length by up to four
# Barycentric slack that closes cracks between neighbours. Rounding grows with the ratio of
# a triangle's length to its height, and the slack with it, up to the cap.
EDGE_SLACK = 1e-6
EDGE_SLACK_CAP = 1e-4
LEAST_AREA = 1e-10  # square pixels; thinner triangles have no usable inverse in float32
NOBODY = np.uint32(0xFFFFFFFF)  # the bits of -1
COUNT_CAP = 2**30  # a needed length that int32 cannot hold is reported as this


class Faces(NamedTuple):
    """Triangles of all views behind each other: what one pixel needs to test one of them."""

    origin: tuple[Array, Array, Array]  # x, y, z of corner 0
    weight1: tuple[Array, Array]  # d(barycentric of corner 1) / d(x, y)
    weight2: tuple[Array, Array]
    rise: tuple[Array, Array]  # z of corners 1 and 2 above corner 0's
    slack: Array
    first: tuple[Array, Array]  # column and row of the box's first pixel
    blocks: tuple[Array, Array]  # columns and rows of blocks in the box


def triangle_ids(
    vertices: Float[Array, "b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    keys: Keys = "u64",
) -> tuple[Int[Array, "b h w"], Int[Array, ""]]:
    """Finds the nearest triangle of every pixel; the lowest number wins a tie.

    Args:
        vertices: x, y in pixels (the first pixel's centre is (.5, .5)) and z, of any sign,
            smallest = nearest, affine on the screen. Triangles with a corner that is not
            finite, or without area, are not drawn.
        capacity: length of the block list.
        cull: the winding, as seen with row 0 at the top, that is not drawn.
        keys: one scatter of 64-bit keys, or two of 32 bits for backends without them.

    Returns:
        triangle numbers, -1 where there is none, and the length that the list needs. The
        image is only valid where that does not exceed `capacity`.
    """
    batch, count = vertices.shape[0], triangles.shape[0]
    if count == 0:
        return jnp.full((batch, height, width), -1, jnp.int32), jnp.int32(0)
    faces = _prepare(lax.stop_gradient(vertices), triangles, height, width, cull)
    owner, rank, needed = _expand(faces.blocks[0] * faces.blocks[1], capacity)
    column, row, depth, inside = _test_pixels(faces, owner, rank)
    inside &= (jnp.arange(capacity) < needed)[:, None] & (column < width) & (row < height)
    view = owner // count
    pixels = batch * height * width
    place = ((view * height)[:, None] + row) * width + column
    place = jnp.where(inside, place, pixels).ravel()
    triangle = jnp.broadcast_to((owner - view * count)[:, None], row.shape).ravel()
    nearest = _nearest_u64 if keys == "u64" else _nearest_2xu32
    ids = nearest(place, _ordered_bits(depth).ravel(), triangle.astype(jnp.uint32), pixels)
    return lax.bitcast_convert_type(ids, jnp.int32).reshape(batch, height, width), needed


def _prepare(vertices: Array, triangles: Array, height: int, width: int, cull: Cull) -> Faces:
    corners = lambda axis: [vertices[:, :, axis][:, triangles[:, k]].ravel() for k in range(3)]
    x, y, z = corners(0), corners(1), corners(2)
    e1x, e1y, e2x, e2y = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = e1x * e2y - e2x * e1y  # twice it; > 0 is clockwise with rows downwards
    longest = jnp.maximum(e1x**2 + e1y**2, e2x**2 + e2y**2)
    drawn = _is_drawn(area, x + y + z, cull)
    area = jnp.where(drawn, area, 1.0)
    slack = EDGE_SLACK * jnp.maximum(1.0, longest / jnp.abs(area))
    x_first, x_blocks = _blocks(x, width)
    y_first, y_blocks = _blocks(y, height)
    return Faces(
        origin=(x[0], y[0], z[0]),
        weight1=(e2y / area, -e2x / area),
        weight2=(-e1y / area, e1x / area),
        rise=(z[1] - z[0], z[2] - z[0]),
        slack=jnp.minimum(slack, EDGE_SLACK_CAP),
        first=(x_first, y_first),
        blocks=(jnp.where(drawn, x_blocks, 0), y_blocks),
    )


def _is_drawn(area: Array, coordinates: list[Array], cull: Cull) -> Bool[Array, " n"]:
    if cull not in ("none", "clockwise", "counterclockwise"):
        raise ValueError(f"cull is {cull!r}: expected none, clockwise or counterclockwise")
    size = {"none": jnp.abs(area), "clockwise": -area, "counterclockwise": area}[cull]
    finite = jnp.isfinite(sum(jnp.abs(c) for c in coordinates))
    return (size > LEAST_AREA) & finite


def _blocks(corners: list[Array], size: int) -> tuple[Array, Array]:
    """First pixel and number of blocks of the corners' extent along one axis."""
    low = jnp.minimum(jnp.minimum(corners[0], corners[1]), corners[2])
    high = jnp.maximum(jnp.maximum(corners[0], corners[1]), corners[2])
    # clipped as floats: the conversion of a value beyond int32 is undefined
    first = jnp.clip(jnp.ceil(low - 0.5), 0, size).astype(jnp.int32)
    last = jnp.clip(jnp.floor(high - 0.5), -1, size - 1).astype(jnp.int32)
    return first, jnp.maximum(last - first + BLOCK, 0) // BLOCK


def _expand(count: Array, capacity: int) -> tuple[Array, Array, Array]:
    """Owner and rank within the owner of each list entry, and the list's needed length."""
    end = jnp.cumsum(count)
    start = end - count
    # owners without entries share a start, so marks add up
    marks = jnp.zeros((capacity,), jnp.int32).at[start].add(1, mode="drop")
    owner = jnp.clip(jnp.cumsum(marks) - 1, 0, count.shape[0] - 1)
    rank = jnp.arange(capacity, dtype=jnp.int32) - start[owner]
    total = count.astype(jnp.float32).sum()  # cannot wrap around, as `end` can
    return owner, rank, jnp.where(total < COUNT_CAP, end[-1], COUNT_CAP)


def _test_pixels(faces: Faces, owner: Array, rank: Array) -> tuple[Array, Array, Array, Array]:
    """Column, row, depth and coverage, each [entry, pixel of the block]."""
    pick = lambda pair: [values[owner] for values in pair]
    across = jnp.maximum(faces.blocks[0][owner], 1)
    block_row = rank // across
    x_first, y_first = pick(faces.first)
    step = jnp.arange(BLOCK * BLOCK, dtype=jnp.int32)
    column = (x_first + (rank - block_row * across) * BLOCK)[:, None] + (step % BLOCK)[None]
    row = (y_first + block_row * BLOCK)[:, None] + (step // BLOCK)[None]
    x0, y0, z0 = pick(faces.origin)
    dx = column.astype(jnp.float32) + 0.5 - x0[:, None]
    dy = row.astype(jnp.float32) + 0.5 - y0[:, None]
    w1, w2 = (
        gradient[0][:, None] * dx + gradient[1][:, None] * dy
        for gradient in (pick(faces.weight1), pick(faces.weight2))
    )
    slack = faces.slack[owner][:, None]
    inside = (w1 >= -slack) & (w2 >= -slack) & (w1 + w2 <= 1 + slack)
    rise1, rise2 = pick(faces.rise)
    return column, row, z0[:, None] + w1 * rise1[:, None] + w2 * rise2[:, None], inside


def _ordered_bits(value: Array) -> Array:
    """Maps float32 to uint32 so that unsigned order is the floats' order."""
    bits = lax.bitcast_convert_type(value + 0.0, jnp.uint32)  # + 0 makes -0 and 0 one
    negative = bits >> 31 == 1
    return jnp.where(negative, ~bits, bits | np.uint32(1 << 31))


def _nearest_u64(place: Array, depth: Array, triangle: Array, pixels: int) -> Array:
    # 64-bit integers exist only under this flag, whatever the caller's setting is
    with jax.enable_x64(True):
        wide = lambda bits: lax.convert_element_type(bits, jnp.uint64)
        key = lax.shift_left(wide(depth), np.uint64(32)) | wide(triangle)
        best = lax.full((pixels,), np.uint64(2**64 - 1), jnp.uint64)
        best = best.at[place].min(key, mode="drop")
        return lax.convert_element_type(best & np.uint64(NOBODY), jnp.uint32)


def _nearest_2xu32(place: Array, depth: Array, triangle: Array, pixels: int) -> Array:
    front = jnp.full((pixels,), NOBODY).at[place].min(depth, mode="drop")
    wins = depth == front[jnp.minimum(place, pixels - 1)]
    place = jnp.where(wins, place, pixels)
    return jnp.full((pixels,), NOBODY).at[place].min(triangle, mode="drop")
