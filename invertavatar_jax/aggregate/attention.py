"""Attention between the frames, at each pixel by itself."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from invertavatar_jax.aggregate.conv_gru import no_memory
from invertavatar_jax.layers import Dense, LayerNorm

HEADS = 4
Kept = dict[str, Float[Array, "..."]]


class TimeAttention(nn.Module):
    """Each of q frames reads n frames at its own pixel."""

    heads: int = HEADS

    @nn.compact
    def __call__(
        self,
        readers: Float[Array, "q b h w c"],
        frames: Float[Array, "n b h w c"],
        valid: Bool[Array, "n b"],
    ) -> Float[Array, "q b h w c"]:
        """What the readers read.

        Args:
            valid: which frames there are; at least one for everybody.

        Raises:
            ValueError: heads do not divide the channels.
        """
        channels = readers.shape[-1]
        if channels % self.heads:
            raise ValueError(f"got {channels} channels, expected a multiple of {self.heads} heads")
        split = lambda x: x.reshape(*x.shape[:-1], self.heads, -1)
        query = split(Dense(channels, bias=False, name="query")(readers))
        key = split(Dense(channels, bias=False, name="key")(frames))
        value = split(Dense(channels, bias=False, name="value")(frames))
        scores = jnp.einsum("qbhwkd,nbhwkd->nqbhwk", query, key) * query.shape[-1] ** -0.5
        wide = jnp.promote_types(scores.dtype, jnp.float32)
        scores = jnp.where(valid[:, None, :, None, None, None], scores.astype(wide), -jnp.inf)
        weights = jax.nn.softmax(scores, axis=0).astype(value.dtype)
        read = jnp.einsum("nqbhwk,nbhwkd->qbhwkd", weights, value)
        return Dense(channels, name="proj")(read.reshape(readers.shape))


class AttentionWindow(nn.Module):
    """An aggregator (see registry): the newest frame reads the last `span` frames.

    Its memory is these frames and their number, so it forgets all that is older.
    """

    span: int = 8

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Kept | None
    ) -> tuple[Float[Array, "b h w c"], Kept]:
        """Features: tanh of the newest frame and what it reads.

        Memory: `frames`, and how many count.
        """
        if memory is None:
            empty = no_memory(frames)
            none = jnp.zeros(frames.shape[1:2], empty.dtype)
            memory = {"frames": jnp.zeros((self.span, *empty.shape), empty.dtype), "count": none}
        kept = jnp.concatenate([memory["frames"], frames.astype(memory["frames"].dtype)])
        kept = kept[-self.span :]
        count = jnp.minimum(memory["count"] + len(frames), self.span)
        age = jnp.arange(self.span, 0, -1, dtype=count.dtype)
        # the frames have no bound: scores of 1e9 choose one frame, and rounding overflows exp
        normal = LayerNorm(name="norm")(kept.astype(frames.dtype))
        read = TimeAttention(name="attention")(normal[-1:], normal, age[:, None] <= count[None])
        features = kept[-1] + read[0].astype(kept.dtype)
        return jnp.tanh(features), {"frames": kept, "count": count}
