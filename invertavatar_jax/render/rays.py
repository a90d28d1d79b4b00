"""Camera -> one ray per pixel."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from invertavatar_jax.types import Camera


class Rays(NamedTuple):
    """Half-lines from the camera's centre, in world units."""

    origins: Float[Array, "*b n 3"]
    directions: Float[Array, "*b n 3"]  # unit length


def cast_rays(
    camera: Camera,
    resolution: int,
    pixels: Int[Array, "*b n"] | None = None,
    *,
    half_pixel: bool = False,
) -> Rays:
    """One ray per pixel of a square image, row by row.

    Args:
        resolution: side of the image in pixels.
        pixels: row-major indices in [0, resolution^2) of the rays wanted; None is all.
        half_pixel: rays through the pixels' centres, as EG3D and Next3D cast them; the
            released InvertAvatar casts them through the pixels' top-left corners.

    Source: SPEC section 6 (RaySampler_zxc); the paper's 3.1 renders as EG3D does.
    """
    if pixels is None:
        pixels = jnp.arange(resolution**2)
    offset = 0.5 if half_pixel else 0.0
    column = ((pixels % resolution).astype(jnp.float32) + offset) / resolution
    row = ((pixels // resolution).astype(jnp.float32) + offset) / resolution
    k = camera.intrinsics[..., None, :, :]  # upper triangular: its inverse by substitution
    y = (row - k[..., 1, 2]) / k[..., 1, 1]
    x = (column - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    rotation = camera.world_from_camera[..., None, :3, :3]
    # written out, because a matrix product may run in reduced precision on accelerators
    directions = x[..., None] * rotation[..., 0] + y[..., None] * rotation[..., 1]
    directions = directions + rotation[..., 2]
    length = jnp.sqrt(jnp.sum(directions**2, -1, keepdims=True))
    origins = jnp.broadcast_to(camera.world_from_camera[..., None, :3, 3], directions.shape)
    return Rays(origins, directions / length)


def ray_limits(
    camera: Camera, near: float, far: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Where rays start and end: `near` and `far` about the cameras' mean distance.

    The distance is from the origin of the world, and the mean is over all cameras given:
    call it for one camera where an image must not depend on its neighbours in the batch.

    Source: SPEC section 6.
    """
    origins = camera.world_from_camera[..., :3, 3]
    distance = jnp.sqrt(jnp.sum(origins**2, -1)).mean()
    return distance + near, distance + far
