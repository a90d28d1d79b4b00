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


def _add(
    memory: Mean, frames: Float[Array, "t b h w c"], weights: Float[Array, "t b _ _ 1"]
) -> Mean:
    """Moves the mean by what the frames differ from it, which loses no digits in long clips."""
    total = memory["weight"] + weights.sum(0)
    moved = (weights * (frames - memory["mean"][None])).sum(0) / total
    return {"weight": total, "mean": memory["mean"] + moved}


class RunningMean(nn.Module):
    """An aggregator (see registry): every frame counts the same. It has no parameters."""

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Mean | None
    ) -> tuple[Float[Array, "b h w c"], Mean]:
        """Features: the mean."""
        empty = no_memory(frames)
        if memory is None:
            memory = {"weight": jnp.zeros((len(empty), 1, 1, 1), empty.dtype), "mean": empty}
        weights = jnp.ones((*frames.shape[:2], 1, 1, 1), empty.dtype)
        memory = _add(memory, frames.astype(empty.dtype), weights)
        return memory["mean"], memory


class ConfidenceMean(nn.Module):
    """An aggregator (see registry): a frame counts at each pixel as much as it says itself."""

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Mean | None
    ) -> tuple[Float[Array, "b h w c"], Mean]:
        """Features: the weighted mean."""
        empty = no_memory(frames)
        if memory is None:
            memory = {"weight": jnp.zeros((*empty.shape[:-1], 1), empty.dtype), "mean": empty}
        said = Conv(1, name="confidence")(linear.flat(frames)).astype(empty.dtype)
        weights = jax.nn.softplus(said).reshape(*frames.shape[:-1], 1) + LEAST
        memory = _add(memory, frames.astype(empty.dtype), weights)
        return memory["mean"], memory
