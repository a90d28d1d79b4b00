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
    pose, matrix = camera.world_from_camera, camera.intrinsics
    scale = jnp.linalg.norm(pose[..., :3, 2], axis=-1)
    # plane by plane and not as products of thin matrices, which are slow on a CPU; the inverse
    # of rotation * scale is its transpose / scale^2, and one scale is left in the depth
    away = [points[..., i] - pose[..., i, 3, None] for i in range(3)]
    turned = [
        sum(away[j] * (pose[..., j, i] / scale)[..., None] for j in range(3)) for i in range(3)
    ]
    scaled = [sum(turned[j] * matrix[..., i, j, None] for j in range(3)) for i in range(3)]
    depth = jnp.where(scaled[2] > 0, scaled[2], 1.0)
    return jnp.stack([scaled[0] / depth, scaled[1] / depth], -1), turned[2]
