"""Perspective projection of points."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.types import Camera


def project(
    camera: Camera, points: Float[Array, "*b n 3"]
) -> tuple[Float[Array, "*b n 2"], Float[Array, "*b n"]]:
    """Where points fall in the image, and their distance along the camera's axis.

    Args:
        camera: leading axes as the points'; its 3 x 3 block may be a rotation times a scale,
            as the released cameras' is (SPEC section 1).

    Returns:
        x right and y down in units of the image side, and world units; points at or behind
        the camera (distance <= 0) have no meaningful position, but a finite one.
    """
    pose = camera.world_from_camera
    scale = jnp.linalg.norm(pose[..., :3, 2], axis=-1)[..., None, None]
    away = points - pose[..., None, :3, 3]
    # the inverse of rotation * scale is its transpose / scale^2; one scale is left in the depth
    seen = jnp.einsum("...nj,...ji->...ni", away, pose[..., :3, :3]) / scale
    scaled = jnp.einsum("...nj,...ij->...ni", seen, camera.intrinsics)
    depth = scaled[..., 2]
    return scaled[..., :2] / jnp.where(depth > 0, depth, 1.0)[..., None], seen[..., 2]
