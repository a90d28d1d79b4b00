"""What costs no network: the sources' mean colour, and their colours on the fitted mesh.

The mesh is drawn over the first source frame: that keeps its background, hair and clothes, and
scores higher than any plain background.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.fit import morphable
from invertavatar_jax.ops.fill import push_pull
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.rasterize import views
from invertavatar_jax.types import Camera, Frame


def mean_colour(frames: Sequence[Frame]) -> Float[np.ndarray, "3"]:
    """The mean over all visible texels of the sources' heads, in [-1, 1]."""
    seen = [(np.asarray(f.uv_rgb)[0], np.asarray(f.uv_visible)[0] > 0.5) for f in frames]
    return np.concatenate([rgb[visible[..., 0]] for rgb, visible in seen]).mean(axis=0)


def texture(frames: Sequence[Frame]) -> Float[Array, "1 u u 3"]:
    """The sources' colours in UV space: means where they are seen, filled smoothly elsewhere."""
    total = sum(frame.uv_rgb * frame.uv_visible for frame in frames)
    count = sum(frame.uv_visible for frame in frames)
    count = jnp.asarray(count)
    return push_pull(total / jnp.maximum(count, 1.0), (count > 0).astype(jnp.float32))


def draw_textured_mesh(
    head: morphable.HeadModel,
    colours: Float[Array, "1 u u 3"],
    vertices: Float[Array, "v 3"],
    camera: Camera,
    behind: Float[Array, "h w 3"],
) -> Float[np.ndarray, "h w 3"]:
    """The mesh with the sources' colours, as the camera sees it, over `behind`.

    Args:
        colours: of `texture`.
        vertices: in world units; the driven head.
        camera: without leading axes.
    """
    view, _ = views.camera_raster(head, vertices, camera, behind.shape[0], mask="head")
    drawn = grid_sample(colours, view[None, ..., :2])[0]
    return np.asarray(jnp.where(view[..., 2:] > 0.5, drawn, behind))
