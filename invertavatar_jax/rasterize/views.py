"""A head drawn two ways: onto the frontal plane for the networks, and as the camera sees it."""

import functools
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from invertavatar_jax.ops.project import project
from invertavatar_jax.rasterize import api
from invertavatar_jax.types import Camera

Window = tuple[int, int, int, int]  # top, bottom, left, right of a plane of 256
WHOLE_BOX: Window = (0, 256, 0, 256)
Mask = Literal["face", "head"]


class Head(Protocol):
    """What is drawn of a head model; the fields are fit.morphable.HeadModel's.

    Triangles run counterclockwise seen from outside.
    """

    @property
    def triangles(self) -> Int[np.ndarray, "f 3"]: ...
    @property
    def uv(self) -> Float[np.ndarray, "v 2"]: ...
    @property
    def face_mask(self) -> Float[np.ndarray, " v"]: ...
    @property
    def head_mask(self) -> Float[np.ndarray, " v"]: ...


class Surface(NamedTuple):
    """A Head as a pytree of arrays, for functions inside jit."""

    triangles: Int[Array, "f 3"]
    uv: Float[Array, "v 2"]
    face_mask: Float[Array, " v"]
    head_mask: Float[Array, " v"]


def surface(head: Head) -> Surface:
    """The drawn part of a head model, on the device."""
    return Surface(*map(jnp.asarray, (head.triangles, head.uv, head.face_mask, head.head_mask)))


def canonical_raster(
    head: Head,
    vertices: Float[Array, "*b v 3"],
    resolution: int = 256,
    window: Window = (57, 185, 64, 192),
    *,
    box_warp: float = 1.0,
    mask: Mask = "face",
    depth: bool = False,
    released_edges: bool = False,
) -> Float[Array, "*b r r c"]:
    """Draws (u, v, mask[, z]) of the un-posed head onto a window of plane 0. SPEC section 7.

    Orthographic along z, largest z nearest; rows grow with +y. All channels are 0 where the
    mask is. Not for use inside jit: see `draw_plane`.

    Args:
        window: the part of the plane that is drawn, of settings.Model.raster_window.
        box_warp: side of the tri-plane box in world units.
        mask: which of the head's masks.
        depth: adds a fourth channel, z in world units.
        released_edges: at the mask's edge u and v shrink and the mask is 1 from sqrt(.5), and
            triangles are drawn whichever way they turn, as in the released data; otherwise u
            and v are exact, the mask is 1 from .5, and only what faces the viewer is drawn.
    """
    vertices = jnp.asarray(vertices)
    run = functools.partial(
        _draw_plane_jit,
        surface(head),
        vertices,
        resolution,
        window,
        box_warp=box_warp,
        mask=mask,
        released_edges=released_edges,
    )
    image = api.grow_capacity(
        lambda capacity: run(capacity=capacity), first_capacity(head, vertices, resolution)
    )
    return image if depth else image[..., :3]


def draw_plane(
    head: Surface,
    vertices: Float[Array, "*b v 3"],
    resolution: int,
    window: Window,
    *,
    capacity: int,
    box_warp: float,
    mask: Mask,
    released_edges: bool,
) -> tuple[Float[Array, "*b r r 4"], Int[Array, ""]]:
    """As `canonical_raster` with depth, for use inside jit; and the capacity needed."""
    top, bottom, left, right = window
    place = lambda axis, low, high: (
        ((vertices[..., axis] * (2 / box_warp) + 1) * 128 - low) * (resolution / (high - low))
    )
    pixels = jnp.stack([place(0, left, right), place(1, top, bottom), -vertices[..., 2]], -1)
    raster, needed = api.draw(
        pixels,
        head.triangles,
        resolution,
        resolution,
        capacity=capacity,
        # rows that grow with +y mirror the picture, and with it the way triangles turn
        cull="none" if released_edges else "counterclockwise",
    )
    u, v, weight = _uv_and_mask(head, mask, raster)
    if released_edges:  # the stored image is multiplied by the mask once more
        u, v, weight = u * weight, v * weight, weight * weight
    image = jnp.stack([u, v, jnp.ones_like(u), -raster.depth], -1)
    return jnp.where((weight >= 0.5)[..., None], image, 0.0), needed


def camera_raster(
    head: Head,
    vertices: Float[Array, "*b v 3"],
    camera: Camera,
    resolution: int,
    *,
    mask: Mask = "face",
) -> tuple[Float[Array, "*b h w 3"], api.Raster]:
    """Draws (u, v, mask) as the camera sees the head; row 0 is the top.

    Not for use inside jit: see `draw_view`.

    Returns:
        u, v in [-1, 1] and the mask in {0, 1}, all 0 where the mask is; and the raster of the
        whole head, whose depth is the distance along the camera's axis in world units.
    """
    vertices, camera = jnp.asarray(vertices), Camera(*map(jnp.asarray, camera))
    run = functools.partial(_draw_view_jit, surface(head), vertices, camera, resolution, mask=mask)
    return api.grow_capacity(
        lambda capacity: run(capacity=capacity), first_capacity(head, vertices, resolution)
    )


def draw_view(
    head: Surface,
    vertices: Float[Array, "*b v 3"],
    camera: Camera,
    resolution: int,
    *,
    capacity: int,
    mask: Mask,
) -> tuple[tuple[Float[Array, "*b h w 3"], api.Raster], Int[Array, ""]]:
    """As `camera_raster`, for use inside jit; and the capacity needed."""
    position, depth = project(camera, vertices)
    pixels = jnp.concatenate([position * resolution, depth[..., None]], -1)
    raster, needed = api.draw(
        pixels,
        head.triangles,
        resolution,
        resolution,
        capacity=capacity,
        cull="clockwise",
        perspective=True,
    )
    u, v, weight = _uv_and_mask(head, mask, raster)
    image = jnp.stack([u, v, jnp.ones_like(u)], -1)
    return (jnp.where((weight >= 0.5)[..., None], image, 0.0), raster), needed


_SHAPES = ("resolution", "window", "capacity", "box_warp", "mask", "released_edges")
_draw_plane_jit = jax.jit(draw_plane, static_argnames=_SHAPES)
_draw_view_jit = jax.jit(draw_view, static_argnames=("resolution", "capacity", "mask"))


def draw_layout(head: Head, resolution: int) -> api.Raster:
    """Which triangle, and where in it, lies at each texel of the UV layout; row 0 at v = 0."""
    flat = np.concatenate([head.uv * resolution, np.zeros((len(head.uv), 1))], -1)
    return api.rasterize(flat.astype(np.float32), head.triangles, resolution, resolution)


def first_capacity(head: Head | Surface, vertices: Float[Array, "*b v 3"], resolution: int) -> int:
    """The list length to try first for these vertices."""
    views = vertices[..., 0, 0].size
    return api.first_capacity(views, len(head.triangles), resolution, resolution)


def _uv_and_mask(head: Surface, mask: Mask, raster: api.Raster) -> tuple[Array, Array, Array]:
    """u and v in [-1, 1] and the mask's weight in [0, 1], 0 where nothing is drawn."""
    if mask not in ("face", "head"):
        raise ValueError(f"mask is {mask!r}: expected face or head")
    weight = head.face_mask if mask == "face" else head.head_mask
    values = jnp.concatenate([2 * head.uv - 1, weight[:, None]], -1)
    image = api.interpolate(values, head.triangles, raster)
    return image[..., 0], image[..., 1], image[..., 2]
