"""Means over the frames, as baselines: they do not depend on the order."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.aggregate import linear
from invertavatar_jax.aggregate.conv_gru import no_memory
from invertavatar_jax.layers import Conv

Mean = dict[str, Float[Array, "..."]]  # `weight` [b _ _ 1] so far, and the `mean` [b h w c]

LEAST = 1e-6  # confidence of a frame, so that the sum of them is never 0


def _fold(
    frames: Float[Array, "t b h w c"], weights: Float[Array, "t b _ _ 1"], memory: Mean | None
) -> tuple[Float[Array, "b h w c"], Mean]:
    """The mean, bounded, and the memory: the mean is moved by what the frames differ from it.

    So no digits are lost in long clips.
    """
    empty = no_memory(frames)
    if memory is None:
        memory = {"weight": jnp.zeros(weights.shape[1:], empty.dtype), "mean": empty}
    total = memory["weight"] + weights.sum(0)
    apart = frames.astype(empty.dtype) - memory["mean"][None]
    mean = memory["mean"] + (weights * apart).sum(0) / total
    return jnp.tanh(mean), {"weight": total, "mean": mean}


class RunningMean(nn.Module):
    """An aggregator (see registry): every frame counts the same. It has no parameters."""

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Mean | None
    ) -> tuple[Float[Array, "b h w c"], Mean]:
        """Features: tanh of the mean."""
        weights = jnp.ones((*frames.shape[:2], 1, 1, 1), no_memory(frames).dtype)
        return _fold(frames, weights, memory)


class ConfidenceMean(nn.Module):
    """An aggregator (see registry): a frame counts at each pixel as much as it says itself."""

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Mean | None
    ) -> tuple[Float[Array, "b h w c"], Mean]:
        """Features: tanh of the weighted mean."""
        said = Conv(1, name="confidence")(linear.flat(frames)).astype(no_memory(frames).dtype)
        weights = jax.nn.softplus(said).reshape(*frames.shape[:-1], 1) + LEAST
        return _fold(frames, weights, memory)
