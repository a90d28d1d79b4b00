"""Next3D's four orthographic views of a head, and the tri-planes they are laid on.

Views are drawn in the space of the FLAME mesh (metres; x to the head's left, y up, z out of
the face), five times enlarged and moved by a centimetre. Columns and rows of a view lie in
[-1, 1]; rows of all but the top view grow with +y, as grid_sample reads a plane.
"""

import functools
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.rasterize import api
from invertavatar_jax.rasterize.blend import flood

VIEWS = ("front", "left", "right", "top")  # the side of the head that is seen
SCALE, SHIFT, DISTANCE = 5.0, 0.01, 10.0
LEVELS, SOLID = 255, 254  # of alpha; flooding passes what is at most SOLID

VIEW_PLANES = ("released", "aligned")


class Topology(Protocol):
    """What is drawn of a mesh; the fields are fit.flame.Topology's."""

    @property
    def triangles(self) -> Int[np.ndarray, "f 3"]: ...
    @property
    def uv(self) -> Float[np.ndarray, "t 2"]: ...
    @property
    def uv_triangles(self) -> Int[np.ndarray, "f 3"]: ...
    @property
    def mask(self) -> Float[np.ndarray, "m m 1"]: ...


class Surface(NamedTuple):
    """A Topology as a pytree of arrays, for functions inside jit."""

    triangles: Int[Array, "f 3"]
    uv: Float[Array, "t 2"]
    uv_triangles: Int[Array, "f 3"]
    mask: Float[Array, "m m 1"]


def surface(mesh: Topology) -> Surface:
    """The drawn part of a mesh, on the device."""
    return Surface(*map(jnp.asarray, (mesh.triangles, mesh.uv, mesh.uv_triangles, mesh.mask)))


def project_views(
    points: Float[Array, "*b n 3"], view_planes: str = "released"
) -> Float[Array, "*b 4 n 3"]:
    """Column and row in [-1, 1], and depth (smallest = nearest), of points in each view.

    Args:
        view_planes: aligned leaves the top view's rows unmoved, so that they lie on the plane
            as the sides' columns do; see `merge_views`.

    Source: NEXT3D section 4.
    """
    _check(view_planes)
    x, y, z = (points[..., i] for i in range(3))
    up = SCALE * (y + SHIFT)
    front = (SCALE * x, up, DISTANCE - SCALE * (z - SHIFT))
    left = (-SCALE * z, up, DISTANCE - SCALE * (x - SHIFT))
    right = (SCALE * z, up, DISTANCE + SCALE * (x + SHIFT))
    top_shift = SHIFT if view_planes == "released" else 0.0
    top = (SCALE * x, -SCALE * (z - top_shift), DISTANCE - SCALE * (y - SHIFT))
    return jnp.stack([jnp.stack(view, -1) for view in (front, left, right, top)], -3)


def _check(view_planes: str) -> None:
    if view_planes not in VIEW_PLANES:
        raise ValueError(f"view_planes: got {view_planes!r}, expected {' or '.join(VIEW_PLANES)}")


def view_raster(
    mesh: Topology,
    vertices: Float[Array, "*b v 3"],
    resolution: int,
    view_planes: str = "released",
) -> Float[Array, "*b 4 r r 3"]:
    """Draws (u, v, alpha) of the mesh in all views. Not for use inside jit: see `draw_views`.

    Returns:
        u and v in [-1, 1], v downwards, 0 where there is no mesh; alpha in [0, 1]: that of the
        face mask, softly, and 1 in holes; constant, so without gradient.
    """
    inputs = surface(mesh), jnp.asarray(vertices), resolution, view_planes
    run = functools.partial(_draw_jit, *inputs)
    views = len(VIEWS) * vertices[..., 0, 0].size
    first = api.first_capacity(views, len(mesh.triangles), resolution, resolution)
    return api.grow_capacity(lambda capacity: run(capacity=capacity), first)


def draw_views(
    mesh: Surface,
    vertices: Float[Array, "*b v 3"],
    resolution: int,
    view_planes: str = "released",
    *,
    capacity: int,
) -> tuple[Float[Array, "*b 4 r r 3"], Int[Array, ""]]:
    """As `view_raster`, for use inside jit; and the capacity needed."""
    uv, visible, needed = draw_uv(mesh, vertices, resolution, view_planes, capacity=capacity)
    return add_alpha(uv, visible, mesh.mask), needed


def draw_uv(
    mesh: Surface,
    vertices: Float[Array, "*b v 3"],
    resolution: int,
    view_planes: str = "released",
    *,
    capacity: int,
) -> tuple[Float[Array, "*b 4 r r 2"], Bool[Array, "*b 4 r r"], Int[Array, ""]]:
    """(u, v) in [-1, 1], v downwards, where the mesh is seen, and the capacity needed.

    Only what faces the viewer is drawn. NEXT3D section 4.
    """
    seen = project_views(jax.lax.stop_gradient(vertices), view_planes)
    pixels = jnp.concatenate([(seen[..., :2] + 1) * (resolution / 2), seen[..., 2:]], -1)
    raster, needed = api.draw(
        pixels,
        mesh.triangles,
        resolution,
        resolution,
        capacity=capacity,
        cull="counterclockwise",  # rows that grow with +y mirror the way triangles turn
    )
    values = (2 * mesh.uv - 1) * jnp.array([1.0, -1.0])
    uv = api.interpolate(values, mesh.uv_triangles, raster)
    return uv, raster.triangle >= 0, needed


_draw_jit = jax.jit(draw_views, static_argnames=("resolution", "view_planes", "capacity"))


def add_alpha(
    uv: Float[Array, "*b r r 2"],
    visible: Bool[Array, "*b r r"],
    mask: Float[Array, "m m 1"],
) -> Float[Array, "*b r r 3"]:
    """(u, v, alpha): the mask drawn on the mesh, holes filled; without gradient."""
    side = uv.shape[-2]
    grid = uv.reshape(1, -1, side, side, 2)
    on = grid_sample(jnp.asarray(mask)[None], grid)[0]
    alpha = fill_holes(jnp.where(visible.reshape(-1, side, side, 1), on, 0.0))
    return jax.lax.stop_gradient(jnp.concatenate([uv, alpha.reshape(*uv.shape[:-1], 1)], -1))


def fill_holes(alpha: Float[Array, "b h w 1"]) -> Float[Array, "b h w 1"]:
    """Sets alpha to 1 wherever pixel (0, 0) cannot be reached through pixels that are not solid.

    Source: NEXT3D section 4, step 3.
    """
    outside = flood(alpha[..., 0] * LEVELS <= SOLID)[..., None]
    return jnp.where(outside, alpha, 1.0)


class Layers(NamedTuple):
    """What is laid over each of the three static planes."""

    features: Float[Array, "b 3 r r c"]
    alpha: Float[Array, "b 3 r r 1"]


def merge_views(
    drawn: Float[Array, "b 4 r r c"], alpha: Float[Array, "b 4 r r 1"], view_planes: str
) -> Layers:
    """Four views -> one layer for each plane.

    As released, both sides are summed, backgrounds included, and their alpha is 1 where that
    of the left view is not 0.

    Args:
        view_planes: released: the sides go to the second plane and the top to the third.
            aligned: the top goes to the second, of (x, z), and the sides to the third, of
            (z, y); the left view's columns and the top view's rows, which grow with -z, are
            mirrored; the alpha of the sides is 1 where that of either is not 0. Needs views
            that were drawn aligned, too.

    Raises:
        ValueError: view_planes is neither.

    Source: NEXT3D section 4.
    """
    _check(view_planes)
    if view_planes == "released":
        side_alpha = (alpha[:, 1] != 0).astype(alpha.dtype)
        layers = drawn[:, 0], drawn[:, 1] + drawn[:, 2], drawn[:, 3]
        return Layers(jnp.stack(layers, 1), jnp.stack([alpha[:, 0], side_alpha, alpha[:, 3]], 1))
    left, top = jnp.flip(drawn[:, 1], 2), jnp.flip(drawn[:, 3], 1)
    left_alpha, top_alpha = jnp.flip(alpha[:, 1], 2), jnp.flip(alpha[:, 3], 1)
    side_alpha = ((left_alpha != 0) | (alpha[:, 2] != 0)).astype(alpha.dtype)
    layers = drawn[:, 0], top, left + drawn[:, 2]
    return Layers(jnp.stack(layers, 1), jnp.stack([alpha[:, 0], top_alpha, side_alpha], 1))
