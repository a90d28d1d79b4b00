"""Filling the unknown part of an image smoothly from the known part."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.ops.resize import average_pool, resize_bilinear


def push_pull(
    values: Float[Array, "*b h w c"], weight: Float[Array, "*b h w 1"]
) -> Float[Array, "*b h w c"]:
    """Keeps values of weight 1 and fills the rest from coarser means of what is known.

    Args:
        weight: in [0, 1]; values of weight 0 are not read. 0 everywhere gives 0.
    """
    values = jnp.where(weight > 0, values, 0.0) * weight
    height, width = values.shape[-3:-1]
    known = values / jnp.where(weight > 0, weight, 1.0)
    if height == width == 1:
        return known
    half = (-(-height // 2), -(-width // 2))
    coarse_weight = average_pool(weight, half)
    mean = average_pool(values, half) / jnp.where(coarse_weight > 0, coarse_weight, 1.0)
    coarse = push_pull(mean, coarse_weight)
    return known * weight + resize_bilinear(coarse, (height, width)) * (1 - weight)
