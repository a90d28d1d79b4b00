"""From the triangle of each pixel to what is seen there; differentiable.

Gradients reach vertices and attributes through the gathers, wherever a pixel keeps its
triangle; there is none from silhouettes that move.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


class Raster(NamedTuple):
    """What each pixel of a drawn mesh sees."""

    triangle: Int[Array, "*b h w"]  # -1 where there is none
    barycentric: Float[Array, "*b h w 3"]  # of the triangle's corners; 0 where there is none
    depth: Float[Array, "*b h w"]  # the vertices' z; 0 where there is none


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
