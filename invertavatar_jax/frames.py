"""Tracked frames -> what the networks read: rasters of the head, UV maps, the frontal plane."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from invertavatar_jax.fit import morphable, uv
from invertavatar_jax.ops.fill import push_pull
from invertavatar_jax.ops.project import project
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.rasterize import api, views
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Camera, Drive, Frame

# The 2-D layer behind the head is read where the matte, grown by this part of the image's
# side, is below the second number: hair and a matte's soft edge must not leak into it.
BACKGROUND_MARGIN = 1 / 24
BACKGROUND_MATTE = 0.1
PADDING = 6  # levels: a crop's rows and columns beyond the source are not brighter


class Geometry(NamedTuple):
    """A head model, prepared for one model's sizes: made once by `geometry`."""

    sizes: Model
    surface: views.Surface
    texels: Callable[[], uv.Texels]  # made when first called: driving needs none
    # identity [b k], expression [b e], gaze [b 4] -> vertices and normals [b v 3]; compiled
    deform: Callable[[Any, Any, Any], tuple[Array, Array]]


class Prepared(NamedTuple):
    """One frame as the networks read it; batch axis 1."""

    frame: Frame
    background: Float[Array, "b h w 3"] | None  # behind the person
    identity: Float[np.ndarray, " k"]  # of the head model in use


class Seen(Protocol):
    """One tracked frame; the fields are avatar.Observation's."""

    @property
    def image(self) -> UInt8[np.ndarray, "h w 3"]: ...
    @property
    def matte(self) -> UInt8[np.ndarray, "h w"]: ...
    @property
    def identity(self) -> Float[np.ndarray, " k"]: ...
    @property
    def expression(self) -> Float[np.ndarray, " e"]: ...
    @property
    def gaze_rad(self) -> Float[np.ndarray, " 4"]: ...
    @property
    def camera(self) -> Camera: ...


def geometry(head: morphable.HeadModel, sizes: Model) -> Geometry:
    """Prepares a head: its deformation and its UV layout."""

    def deform(identity, expression, gaze_rad):
        vertices = morphable.vertices(head, identity, expression, gaze_rad)
        return vertices, morphable.normals(head, vertices)

    @functools.cache
    def texels() -> uv.Texels:
        mask = head.head_mask if _mask(sizes) == "head" else head.face_mask
        layout = views.draw_layout(head, sizes.uv_resolution)
        return jax.tree.map(jnp.asarray, uv.make_texels(head.triangles, mask, layout))

    return Geometry(sizes, views.surface(head), texels, jax.jit(deform))


def make_frame(geometry: Geometry, seen: Seen) -> tuple[Frame, Float[Array, "1 h w 3"]]:
    """One tracked frame with batch axis 1, and the picture behind its person."""
    batch = lambda x: np.asarray(x)[None]
    return make_frames(
        geometry,
        batch(seen.image),
        batch(seen.matte),
        batch(seen.identity),
        batch(seen.expression),
        batch(seen.gaze_rad),
        Camera(*map(batch, seen.camera)),
    )


def make_frames(
    geometry: Geometry,
    image: UInt8[np.ndarray, "b h w 3"],
    matte: UInt8[np.ndarray, "b h w"],
    identity: Float[np.ndarray, "b k"],
    expression: Float[np.ndarray, "b e"],
    gaze_rad: Float[np.ndarray, "b 4"],
    camera: Camera,
) -> tuple[Frame, Float[Array, "b h w 3"]]:
    """b tracked frames as the networks read them, and the pictures behind their persons.

    Args:
        image: square, RGB; resized to the model's image where it differs.
        matte: 255 = person.
        camera: leading axis b.

    Raises:
        ValueError: the image is not square.
    """
    if image.shape[-3] != image.shape[-2]:
        size = f"{image.shape[-2]} x {image.shape[-3]}"
        raise ValueError(f"a frame's image is {size} pixels; expected a square crop")
    vertices, normals = geometry.deform(identity, expression, gaze_rad)
    photo = _photo(image, matte, side=geometry.sizes.renderer.image_resolution)
    camera = Camera(*(jnp.asarray(x, jnp.float32) for x in camera))
    return api.grow_capacity(
        lambda capacity: _frames(
            geometry.surface,
            geometry.texels(),
            (vertices, normals),
            photo,
            camera,
            sizes=geometry.sizes,
            capacity=capacity,
        ),
        _first_capacity(geometry, vertices),
    )


def make_drives(
    geometry: Geometry,
    identity: Float[Array, "b k"],
    expression: Float[Array, "b e"],
    gaze_rad: Float[Array, "b 4"],
    camera: Camera,
) -> Drive:
    """What drives avatars in b frames."""
    vertices, _ = geometry.deform(identity, expression, gaze_rad)
    camera = Camera(*(jnp.asarray(x, jnp.float32) for x in camera))
    return api.grow_capacity(
        lambda capacity: _drives(
            geometry.surface, vertices, camera, sizes=geometry.sizes, capacity=capacity
        ),
        _first_capacity(geometry, vertices),
    )


def fill_background(
    image: Float[Array, "*b h w 3"], matte: Float[Array, "*b h w 1"]
) -> Float[Array, "*b h w 3"]:
    """The picture without its person: what surrounds the person, drawn smoothly inwards.

    Args:
        matte: in [0, 1], 1 = person.
    """
    reach = 2 * round(image.shape[-2] * BACKGROUND_MARGIN) + 1
    once = (1,) * matte.ndim
    grown = matte
    for axis in (matte.ndim - 3, matte.ndim - 2):  # a square's maximum is that of its lines
        window = (*once[:axis], reach, *once[axis + 1 :])
        grown = lax.reduce_window(grown, 0.0, lax.max, window, once, "SAME")
    return push_pull(image, (grown < BACKGROUND_MATTE).astype(image.dtype))


def frontal_positions(
    box_raster: Float[Array, "*b p p 4"], camera: Camera, box_warp: float
) -> Float[Array, "*b p p 2"]:
    """Where each texel of plane 0 falls in the image, in [-1, 1]; rows grow with +y.

    On the head a texel lies on its surface; around it, at the depth of the nearest parts of
    the head's outline, smoothly carried outwards, which is where hair and shoulders are.
    """
    side = box_raster.shape[-2]
    depth = push_pull(box_raster[..., 3:], box_raster[..., 2:3])
    line = ((jnp.arange(side) + 0.5) * (2 / side) - 1) * (box_warp / 2)
    x = jnp.broadcast_to(line[None, :, None], depth.shape[-3:])
    y = jnp.broadcast_to(line[:, None, None], depth.shape[-3:])
    plane = jnp.broadcast_to(jnp.concatenate([x, y], -1), (*depth.shape[:-1], 2))
    points = jnp.concatenate([plane, depth], -1)
    position, _ = project(camera, points.reshape(*points.shape[:-3], -1, 3))
    return (2 * position - 1).reshape(*points.shape[:-1], 2)


@functools.partial(jax.jit, static_argnames="side")
def _photo(image: Array, matte: Array, *, side: int) -> tuple[Array, Array, Array]:
    """Bytes to numbers, at the model's size. Alone, or XLA repeats it in each of its readers."""
    padding = _padding(image)
    image = resize_antialias(image.astype(jnp.float32) / 127.5 - 1, (side, side))
    matte = matte[..., None].astype(jnp.float32) / 255 * (1 - padding)
    return image, *(resize_antialias(x, (side, side)) for x in (matte, padding))


def _padding(image: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 1"]:
    """1 in black rows and columns along the borders, which a crop has beyond its source."""
    inside = jnp.ones((*image.shape[:-1], 1))
    lit = jnp.any(image > PADDING, -1)
    for axis in (-2, -1):
        line = jnp.any(lit, axis, keepdims=True).astype(jnp.int32)
        along = (-3 - axis) % lit.ndim
        begun = lax.cummax(line, along) * lax.cummax(line, along, reverse=True)
        inside = inside * begun[..., None]
    return 1 - inside


@functools.partial(jax.jit, static_argnames=("sizes", "capacity"))
def _frames(surface, texels, mesh, photo, camera, *, sizes: Model, capacity: int):
    image, matte, padding = photo
    vertices, normals = mesh
    drive, drawn_depth, needed = _draw(surface, vertices, camera, sizes, capacity)
    # the released maps test neither depth nor matte, but only small ones pass colours through
    person = None if drawn_depth is None else matte
    maps = uv.project_to_uv(texels, vertices, normals, camera, image, drawn_depth, person)
    frontal = None
    if drive.box_raster is not None:
        frontal = frontal_positions(drive.box_raster, camera, sizes.renderer.box_warp)
    frame = Frame(image, matte, maps.rgb, maps.xy, maps.visible, drive, frontal)
    # what the source does not show is filled like the person
    return (frame, fill_background(image, jnp.maximum(matte, padding))), needed


@functools.partial(jax.jit, static_argnames=("sizes", "capacity"))
def _drives(surface, vertices, camera, *, sizes: Model, capacity: int):
    drive, _, needed = _draw(surface, vertices, camera, sizes, capacity)
    return drive, needed


def _draw(
    surface: views.Surface,
    vertices: Float[Array, "b v 3"],
    camera: Camera,
    sizes: Model,
    capacity: int,
) -> tuple[Drive, Float[Array, "b h w"] | None, Int[Array, ""]]:
    """The rasters of a Drive, the depth that the camera sees, and the capacity needed.

    The paper's model reads the first raster alone; its data know no occlusion.
    """
    side, mask = sizes.renderer.image_resolution, _mask(sizes)
    plane = functools.partial(
        views.draw_plane,
        surface,
        vertices,
        capacity=capacity,
        box_warp=sizes.renderer.box_warp,
        mask=mask,
    )
    if not _reads_depth(sizes):
        raster, needed = plane(
            sizes.raster_resolution, sizes.raster_window, released_edges=mask == "face"
        )
        return Drive(camera, raster[..., :3]), None, needed
    box, box_needed = plane(side, views.WHOLE_BOX, released_edges=False)
    (view, drawn), view_needed = views.draw_view(
        surface, vertices, camera, side, capacity=capacity, mask=mask
    )
    needed = jnp.maximum(box_needed, view_needed)
    rows = _rows_of_box(sizes)
    if rows is None:
        raster, more = plane(sizes.raster_resolution, sizes.raster_window, released_edges=False)
        needed = jnp.maximum(needed, more)
    else:
        raster = box[..., rows[0] : rows[1], rows[2] : rows[3], :]
    return Drive(camera, raster[..., :3], box, view), drawn.depth, needed


def _rows_of_box(sizes: Model) -> tuple[int, ...] | None:
    """The raster's window in pixels of the box raster, where their grids coincide."""
    top, bottom, left, right = sizes.raster_window
    scale = sizes.renderer.image_resolution / 256
    edges = [scale * edge for edge in (top, bottom, left, right)]
    same = (bottom - top) * scale == (right - left) * scale == sizes.raster_resolution
    whole = all(edge == int(edge) for edge in edges)
    return tuple(int(edge) for edge in edges) if same and whole else None


def _reads_depth(sizes: Model) -> bool:
    """Whether the model needs the whole box and the camera's view."""
    departures = sizes.departures
    return departures.colours or departures.frontal_input or departures.depth_prior


def _mask(sizes: Model) -> views.Mask:
    return "head" if sizes.departures.head_raster else "face"


def _first_capacity(geometry: Geometry, vertices: Float[Array, "b v 3"]) -> int:
    sizes = geometry.sizes
    side = max(sizes.renderer.image_resolution, sizes.raster_resolution)
    return views.first_capacity(geometry.surface, vertices, side)
