"""Triangles on the screen, as every backend sees them: which are drawn, where, and how deep.

All arrays hold the triangles of all views behind each other, one array for each coordinate:
vector units load them whole, and a gather of single numbers is several times faster on a CPU
than one of rows.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Cull = Literal["none", "clockwise", "counterclockwise"]

# Barycentric slack that closes cracks between neighbours. Rounding grows with the ratio of
# a triangle's length to its height, and the slack with it, up to the cap.
EDGE_SLACK = 1e-6
EDGE_SLACK_CAP = 1e-4
LEAST_AREA = 1e-10  # square pixels; thinner triangles have no usable inverse in float32
MOST_ENTRIES = 2**24  # of a list: float32 counts them exactly
COUNT_CAP = 2**30  # a needed length that int32 cannot hold is reported as this
ROW = 128


class Corners(NamedTuple):
    """Positions of corners 0, 1 and 2."""

    x: tuple[Array, Array, Array]
    y: tuple[Array, Array, Array]
    z: tuple[Array, Array, Array]


class Plane(NamedTuple):
    """What one pixel needs to test a triangle."""

    x: Array  # of corner 0
    y: Array
    z: Array
    weight1_x: Array  # d(barycentric of corner 1) / d(x)
    weight1_y: Array
    weight2_x: Array
    weight2_y: Array
    rise1: Array  # z of corner 1 above corner 0's
    rise2: Array
    slack: Array


def gather_corners(vertices: Float[Array, "b v 3"], triangles: Int[Array, "f 3"]) -> Corners:
    """The corners of all triangles of all views, each [b * f]."""
    batch, count = vertices.shape[:2]
    view = jnp.arange(batch, dtype=jnp.int32)[:, None] * count
    index = [
        (triangles[:, k].astype(jnp.int32).clip(0, count - 1) + view).ravel() for k in range(3)
    ]
    get = lambda axis: tuple(pick(vertices[..., axis].ravel(), i) for i in index)
    return Corners(get(0), get(1), get(2))


def pick(values: Array, index: Array) -> Array:
    """A gather of indices that are known to be in range."""
    return values.at[index].get(mode="promise_in_bounds")


def pick_corners(corners: Corners, index: Array) -> Corners:
    """The corners of some triangles."""
    return Corners(*(tuple(pick(values, index) for values in axis) for axis in corners))


def is_drawn(corners: Corners, cull: Cull) -> Bool[Array, " n"]:
    """Whether a triangle has an area, finite corners and the winding that is drawn.

    Raises:
        ValueError: `cull` is no winding.
    """
    if cull not in ("none", "clockwise", "counterclockwise"):
        raise ValueError(f"cull is {cull!r}: expected none, clockwise or counterclockwise")
    area = _twice_area(corners)
    size = {"none": jnp.abs(area), "clockwise": -area, "counterclockwise": area}[cull]
    total = sum(jnp.abs(value) for axis in corners for value in axis)
    return (size > LEAST_AREA) & jnp.isfinite(total)


def extent(values: tuple[Array, Array, Array], size: int) -> tuple[Array, Array]:
    """First and last pixel whose centre lies between the corners; none where last < first."""
    low = jnp.minimum(jnp.minimum(values[0], values[1]), values[2])
    high = jnp.maximum(jnp.maximum(values[0], values[1]), values[2])
    # clipped as floats: the conversion of a value beyond int32 is undefined
    first = jnp.clip(jnp.ceil(low - 0.5), 0, size).astype(jnp.int32)
    return first, jnp.clip(jnp.floor(high - 0.5), -1, size - 1).astype(jnp.int32)


def expand(count: Int[Array, " n"], capacity: int) -> tuple[Array, Array, Int[Array, ""]]:
    """Lists owner i count[i] times, for all i in turn.

    Args:
        capacity: at most MOST_ENTRIES.

    Returns:
        owner and rank within the owner of each of `capacity` entries, and the length needed.

    Raises:
        ValueError: the capacity is too large.
    """
    if capacity > MOST_ENTRIES:
        raise ValueError(f"got a list of {capacity} entries, expected at most {MOST_ENTRIES}")
    total = count.astype(jnp.float32).sum()  # cannot wrap around, as integers can
    end = _running_sum(count)
    start = end - count
    # owners without entries share a start, so marks add up
    marks = jnp.zeros((capacity,), jnp.int32).at[start].add(1, mode="drop")
    owner = jnp.clip(_running_sum(marks) - 1, 0, count.shape[0] - 1)
    rank = jnp.arange(capacity, dtype=jnp.int32) - pick(start, owner)
    exact = total < MOST_ENTRIES
    return owner, rank, jnp.where(exact, end[-1], jnp.clip(total, 0, COUNT_CAP).astype(jnp.int32))


def _running_sum(count: Int[Array, " n"]) -> Int[Array, " n"]:
    # XLA's own takes half a minute to compile for a TPU
    return lax.platform_dependent(count, tpu=_sum_by_products, default=jnp.cumsum)


def _sum_by_products(count: Int[Array, " n"]) -> Int[Array, " n"]:
    """cumsum by products with a triangle of ones; exact where it stays below MOST_ENTRIES."""
    length = count.shape[0]
    if length <= ROW:
        return jnp.cumsum(count)
    rows = jnp.pad(count, (0, -length % ROW)).reshape(-1, ROW).astype(jnp.float32)
    ones = np.triu(np.ones((ROW, ROW), np.float32))
    sums = lax.dot(rows, ones, precision=lax.Precision.HIGHEST).astype(jnp.int32)
    before = _sum_by_products(sums[:, -1]) - sums[:, -1]
    return (sums + before[:, None]).ravel()[:length]


def plane(corners: Corners) -> Plane:
    """The coefficients of drawn triangles; not finite for those without area."""
    x, y, z = corners
    e1x, e1y, e2x, e2y = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = e1x * e2y - e2x * e1y
    longest = jnp.maximum(e1x**2 + e1y**2, e2x**2 + e2y**2)
    slack = EDGE_SLACK * jnp.maximum(1.0, longest / jnp.abs(area))
    return Plane(
        *(x[0], y[0], z[0]),
        *(e2y / area, -e2x / area, -e1y / area, e1x / area),
        *(z[1] - z[0], z[2] - z[0]),
        jnp.minimum(slack, EDGE_SLACK_CAP),
    )


def test_pixel(face: Plane, x: Array, y: Array) -> tuple[Array, Array]:
    """Depth of a triangle's plane at a point, and whether the point is inside."""
    dx, dy = x - face.x, y - face.y
    w1 = face.weight1_x * dx + face.weight1_y * dy
    w2 = face.weight2_x * dx + face.weight2_y * dy
    inside = (w1 >= -face.slack) & (w2 >= -face.slack) & (w1 + w2 <= 1 + face.slack)
    return face.z + w1 * face.rise1 + w2 * face.rise2, inside


def _twice_area(corners: Corners) -> Array:
    """Twice the signed area: > 0 is clockwise with rows downwards."""
    x, y = corners.x, corners.y
    return (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
