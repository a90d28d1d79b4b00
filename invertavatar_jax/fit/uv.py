"""From a photo to the head's UV map: where each texel falls in the image, and what is seen."""

from typing import NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.project import project
from invertavatar_jax.types import Camera

FACING = 0.1  # cosine between normal and camera axis from which a texel counts as seen
PERSON = 0.5  # the matte from which a pixel is the person's
# A texel is hidden where the drawn depth is nearer by more than this: world units (1.2 mm),
# plus the depth that the surface spans over so many pixels.
HIDDEN_BY = 0.003
HIDDEN_SPAN_PX = 1.5


class Texels(NamedTuple):
    """The UV layout of a head at one resolution; row 0 at v = 0."""

    vertices: Int[np.ndarray, "u u 3"]  # of the triangle at the texel's centre
    weights: Float[np.ndarray, "u u 3"]  # barycentric
    valid: Bool[np.ndarray, "u u"]  # a triangle is there, and inside the mask


class Drawn(Protocol):
    """A drawn mesh: the fields of rasterize.api.Raster that are read here."""

    @property
    def triangle(self) -> Int[Array, "h w"]: ...
    @property
    def barycentric(self) -> Float[Array, "h w 3"]: ...


class UVMaps(NamedTuple):
    """What a photo says about the texels. SPEC section 9.5."""

    rgb: Float[Array, "*b u u 3"]  # 1 (white) where unseen
    xy: Float[Array, "*b u u 2"]  # position in the image, in [-1, 1], y downwards
    visible: Float[Array, "*b u u 1"]  # in {0, 1}


def make_texels(
    triangles: Int[np.ndarray, "f 3"], mask: Float[np.ndarray, " v"], layout: Drawn
) -> Texels:
    """The texels of a head.

    Args:
        mask: per vertex, in {0, 1}; texels below .5 are not valid.
        layout: the UV triangles, drawn at the resolution wanted.
    """
    triangle, weights = np.asarray(layout.triangle), np.asarray(layout.barycentric)
    vertices = np.asarray(triangles)[np.maximum(triangle, 0)].astype(np.int32)
    inside = (mask[vertices] * weights).sum(-1) >= 0.5
    return Texels(vertices, weights, (triangle >= 0) & inside)


def project_to_uv(
    texels: Texels,
    vertices: Float[Array, "*b v 3"],
    normals: Float[Array, "*b v 3"],
    camera: Camera,
    image: Float[Array, "*b h w 3"],
    drawn_depth: Float[Array, "*b h w"] | None = None,
    matte: Float[Array, "*b h w 1"] | None = None,
) -> UVMaps:
    """Pulls a photo into the UV map through the fitted mesh.

    A texel is visible where it is valid, its normal turns towards the camera, and it falls
    inside the image.

    Args:
        drawn_depth: the head's distance along the camera's axis, 0 where there is none; with
            it, texels behind other parts of the head are not visible.
        matte: 1 = person; with it, texels that fall beside the person are not visible.

    Source: SPEC section 9.5, TRAINING section F (5).
    Deviation: the released test knows neither the image's border, nor depth, nor the matte.
    """
    at_texel = lambda values: _at_texels(texels, values)
    point, normal = at_texel(vertices), at_texel(normals)
    flat = point.reshape(*point.shape[:-3], -1, 3)
    position, depth = project(camera, flat)
    position = position.reshape(*point.shape[:-1], 2)
    depth = depth.reshape(point.shape[:-1])
    axis = camera.world_from_camera[..., :3, 2]
    axis = axis / jnp.linalg.norm(axis, axis=-1, keepdims=True)
    facing = -jnp.einsum("...uvc,...c->...uv", normal, axis)
    xy = 2 * position - 1
    seen = jnp.asarray(texels.valid) & (facing > FACING) & jnp.all(jnp.abs(xy) <= 1, -1)
    if drawn_depth is not None:
        pixel = depth / (camera.intrinsics[..., 0, 0, None, None] * image.shape[-2])
        steep = jnp.sqrt(jnp.maximum(1 - facing**2, 0)) / jnp.maximum(facing, FACING)
        slack = HIDDEN_BY + HIDDEN_SPAN_PX * pixel * steep
        seen &= depth <= _nearest(drawn_depth, position) + slack
    sampled = _sample(image if matte is None else jnp.concatenate([image, matte], -1), xy)
    if matte is not None:
        seen &= sampled[..., 3] >= PERSON
    seen = seen[..., None]
    return UVMaps(jnp.where(seen, sampled[..., :3], 1.0), xy, seen.astype(jnp.float32))


def _at_texels(texels: Texels, values: Float[Array, "*b v c"]) -> Float[Array, "*b u u c"]:
    parts = [
        values[..., texels.vertices[..., k], :] * texels.weights[..., k, None] for k in range(3)
    ]
    return parts[0] + parts[1] + parts[2]


def _sample(image: Array, xy: Array) -> Array:
    lead = xy.shape[:-3]
    sampled = grid_sample(image.reshape(-1, *image.shape[-3:]), xy.reshape(-1, *xy.shape[-3:]))
    return sampled.reshape(*lead, *sampled.shape[1:])


def _nearest(depth: Array, position: Array) -> Array:
    """The drawn depth in the pixel of each position; infinite where nothing is drawn."""
    height, width = depth.shape[-2:]
    index = lambda value, size: jnp.clip(jnp.floor(value * size), 0, size - 1).astype(jnp.int32)
    row, column = index(position[..., 1], height), index(position[..., 0], width)
    place = (row * width + column).reshape(*row.shape[:-2], -1)
    found = jnp.take_along_axis(depth.reshape(*depth.shape[:-2], -1), place, -1)
    return jnp.where(found > 0, found, jnp.inf).reshape(row.shape)
