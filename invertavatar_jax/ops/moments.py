"""Normalisation by second moments, and the spread of a batch as a feature."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_EPSILON = 1e-8  # the released models'; keeps roots and their gradients finite


def normalize_second_moment(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """Scales vectors to a mean square of 1. SPEC section 3."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + _EPSILON)


def append_minibatch_std(
    x: Float[Array, "b h w c"], group: int | None = 4, channels: int = 1
) -> Float[Array, "b h w c+f"]:
    """Appends f channels that hold the standard deviation within groups of samples.

    Sample i is in group i % (b // group); None makes one group of the batch.

    Raises:
        ValueError: the batch is not a multiple of the group.

    Source: SPEC section 10.
    """
    b, h, w, c = x.shape
    size = b if group is None else min(group, b)
    if b % size:
        raise ValueError(f"batch of {b}: expected a multiple of the group of {size}")
    grouped = x.reshape(size, b // size, h, w, channels, c // channels)
    std = jnp.sqrt(grouped.var(0) + _EPSILON).mean((1, 2, 4))
    spread = jnp.broadcast_to(std[None, :, None, None], (size, b // size, h, w, channels))
    return jnp.concatenate([x, spread.reshape(b, h, w, channels)], -1)
