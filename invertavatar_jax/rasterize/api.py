"""Drawing a triangle mesh: which triangle a pixel sees, where in it, and what it shows there.

Only the choice of the triangle is discrete. Barycentric coordinates, depth and attributes
follow from it by gathers, so gradients reach vertices and attributes wherever a pixel keeps
its triangle; there is none from silhouettes that move.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from invertavatar_jax.rasterize.faces import COUNT_CAP, Cull
from invertavatar_jax.rasterize.reference import Keys, triangle_ids

LEAST_CAPACITY = 2**14
LARGEST_CAPACITY = 2**24  # blocks; the arrays of such a list take about 2 GiB


class Raster(NamedTuple):
    """What each pixel of a drawn mesh sees."""

    triangle: Int[Array, "*b h w"]  # -1 where there is none
    barycentric: Float[Array, "*b h w 3"]  # of the triangle's corners; 0 where there is none
    depth: Float[Array, "*b h w"]  # the vertices' z; 0 where there is none


def rasterize(
    vertices: Float[Array, "*b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    cull: Cull = "none",
    perspective: bool = False,
    keys: Keys | None = None,
    largest_capacity: int = LARGEST_CAPACITY,
) -> Raster:
    """Draws one mesh in one or many views. Not for use inside jit: see `draw`.

    Args:
        vertices: x, y in pixels (the first pixel's centre is (.5, .5)) and z, smallest =
            nearest; leading axes are views.
        cull: the winding, as seen with row 0 at the top, that is not drawn.
        perspective: z is the distance along a pinhole camera's axis: coordinates, depth and
            the choice of the nearest are then correct in perspective, and triangles with a
            corner at z <= 0 are not drawn. Otherwise all are affine on the screen.

    Raises:
        ValueError: if the triangles' boxes hold more than `largest_capacity` blocks.
    """
    run = functools.partial(
        _draw_jit, vertices, triangles, height, width, cull=cull, perspective=perspective, keys=keys
    )
    views = vertices[..., 0, 0].size
    return grow_capacity(
        lambda capacity: run(capacity=capacity),
        start=first_capacity(views, triangles.shape[0], height, width),
        largest=largest_capacity,
    )


def draw(
    vertices: Float[Array, "*b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    perspective: bool = False,
    keys: Keys | None = None,
) -> tuple[Raster, Int[Array, ""]]:
    """As `rasterize`, for use inside jit, with a list of static length.

    Returns:
        the raster, and the length that was needed: if it exceeds `capacity` the raster is
        wrong, and the caller has to repeat with more (see `grow_capacity`).
    """
    views = vertices.reshape(-1, *vertices.shape[-2:])
    x, y, z = (views[..., axis] for axis in range(3))
    if perspective:  # 1 / z is affine on the screen, z is not
        z = jnp.where(z > 0, -1 / jnp.where(z > 0, z, 1.0), jnp.nan)
    ids, needed = triangle_ids(
        jnp.stack([x, y, z], -1),
        triangles,
        height,
        width,
        capacity=capacity,
        cull=cull,
        keys=keys,
    )
    ids = ids.reshape(*vertices.shape[:-2], height, width)
    return resolve(vertices, triangles, ids, perspective=perspective), needed


_draw_jit = jax.jit(
    draw, static_argnames=("height", "width", "capacity", "cull", "perspective", "keys")
)


def grow_capacity(
    run: Callable[[int], tuple[Any, Int[Array, ""]]], start: int, largest: int = LARGEST_CAPACITY
) -> Any:
    """Calls run(capacity) -> (result, needed) with powers of two until the list suffices.

    Raises:
        ValueError: if more than `largest` is needed.
    """
    capacity = min(start, largest)
    while True:
        result, needed = run(capacity)
        needed = int(needed)
        if needed <= capacity:
            return result
        if needed > largest:
            size = f"{needed}" if needed < COUNT_CAP else "over 2^30"
            raise ValueError(
                f"the mesh covers {size} blocks of pixels but the largest list holds {largest}: "
                "draw fewer views at once, a smaller image, or raise largest_capacity"
            )
        capacity = min(power_of_two(needed), largest)


def first_capacity(views: int, triangles: int, height: int, width: int) -> int:
    """A list length that suffices for heads that fill the image."""
    guess = views * (2 * triangles + height * width // 4)
    return min(power_of_two(max(guess, LEAST_CAPACITY)), LARGEST_CAPACITY)


def power_of_two(count: int) -> int:
    """The smallest power of two that is not below `count`."""
    return 1 << max(count - 1, 0).bit_length()


def resolve(
    vertices: Float[Array, "*b v 3"],
    triangles: Int[Array, "f 3"],
    ids: Int[Array, "*b h w"],
    *,
    perspective: bool = False,
) -> Raster:
    """Barycentric coordinates and depth of each pixel's triangle; differentiable.

    Args:
        ids: as from `triangle_ids`, of the same vertices.
        perspective: see `rasterize`.
    """
    height, width = ids.shape[-2:]
    hit = ids >= 0
    # where nothing is hit a unit triangle stands in, so that no gradient divides by zero
    corner = lambda axis, stand_in: [
        jnp.where(hit, values, other)
        for values, other in zip(
            _corners(vertices[..., axis : axis + 1], triangles, ids), stand_in, strict=True
        )
    ]
    x, y, z = corner(0, (0.0, 1.0, 0.0)), corner(1, (0.0, 0.0, 1.0)), corner(2, (1.0, 1.0, 1.0))
    grid = lambda size, axis: lax.broadcasted_iota(jnp.float32, ids.shape, axis) + 0.5
    dx, dy = grid(width, ids.ndim - 1) - x[0], grid(height, ids.ndim - 2) - y[0]
    e1x, e1y, e2x, e2y = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = e1x * e2y - e2x * e1y
    area = jnp.where(area == 0, 1.0, area)
    w1, w2 = (dx * e2y - e2x * dy) / area, (e1x * dy - dx * e1y) / area
    weights = [1 - w1 - w2, w1, w2]
    if perspective:
        weights = [weight / depth for weight, depth in zip(weights, z, strict=True)]
        total = weights[0] + weights[1] + weights[2]
        weights = [weight / total for weight in weights]
    depth = weights[0] * z[0] + weights[1] * z[1] + weights[2] * z[2]
    barycentric = jnp.where(hit[..., None], jnp.stack(weights, -1), 0.0)
    return Raster(ids, barycentric, jnp.where(hit, depth, 0.0))


def interpolate(
    attributes: Float[Array, "*b v c"],
    triangles: Int[Array, "f 3"],
    raster: Raster,
    background: float = 0.0,
) -> Float[Array, "*b h w c"]:
    """Values per vertex, carried to the pixels; `background` where there is no triangle.

    Args:
        attributes: with the raster's leading axes, or none, then shared by all views.
    """
    channels = []
    for c in range(attributes.shape[-1]):  # one plane at a time: 3 x faster than rows on CPU
        corners = _corners(attributes[..., c : c + 1], triangles, raster.triangle)
        parts = [raster.barycentric[..., k] * corners[k] for k in range(3)]
        channels.append(parts[0] + parts[1] + parts[2])
    hit = (raster.triangle >= 0)[..., None]
    return jnp.where(hit, jnp.stack(channels, -1), background)


def _corners(values: Array, triangles: Array, ids: Array) -> list[Array]:
    """[*b v 1] or [v 1] at the three corners of each pixel's triangle, each [*b h w]."""
    triangle = jnp.maximum(ids, 0)
    if triangles.shape[0] == 0:  # nothing is hit; a gather needs something to read
        triangles = jnp.zeros((1, 3), jnp.int32)
    shared = values.ndim == 2
    views = 1 if shared else values[..., 0, 0].size
    start = jnp.arange(views, dtype=jnp.int32) * (0 if shared else values.shape[-2])
    start = start.reshape((1,) * ids.ndim if shared else (*ids.shape[:-2], 1, 1))
    flat = values.reshape(-1)
    get = lambda k: flat[jnp.asarray(triangles)[:, k].astype(jnp.int32)[triangle] + start]
    return [get(k) for k in range(3)]
