"""A diagonal state-space model: every channel forgets at a rate of its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.aggregate import linear
from invertavatar_jax.aggregate.conv_gru import no_memory
from invertavatar_jax.aggregate.linear import Terms
from invertavatar_jax.layers import Dense

LONGEST = 32.0  # frames in which the slowest channel forgets, at first: as many as training has
SLOWEST = 1e-6  # the least rate of forgetting, so that the gain of what comes in is not 0


def _first_rates(key: jax.Array, shape: tuple[int]) -> Float[Array, " c"]:
    """Times of 1 to LONGEST frames, spread evenly in their logarithm."""
    times = np.geomspace(1.0, LONGEST, shape[0])
    return jnp.asarray(np.log(np.expm1(1 / times)), jnp.float32)


def terms(params: linear.Params, frames: Float[Array, "t b h w c"]) -> Terms:
    """a = exp(-rate) and sqrt(1 - a^2) x, which keeps the variance of independent frames.

    Args:
        params: `rate`, any real number; the rate of forgetting is its softplus.
    """
    rate = jax.nn.softplus(params["rate"]) + SLOWEST
    decay, gain = jnp.exp(-rate), jnp.sqrt(-jnp.expm1(-2 * rate))
    wide = jnp.promote_types(frames.dtype, jnp.float32)
    drive = frames.astype(wide) * gain.astype(wide)[None, None, None, None]
    every = (len(frames), 1, 1, 1, frames.shape[-1])
    return jnp.broadcast_to(decay.astype(wide), every), drive


class Diagonal(nn.Module):
    """An aggregator (see registry): h = a h + b x with a in (0, 1) per channel.

    Linear layers mix the channels before and after, and the newest frame passes by the state;
    tanh bounds what comes out.

    Attributes:
        run: one of linear.Run; they differ in time and memory, not in the result.

    Source: diagonal state-space models (S4D, LRU), with real eigenvalues.
    """

    run: linear.Run = linear.in_turn

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Float[Array, "b h w c"] | None
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
        """Features: the memory's and the newest frame's channels, mixed."""
        channels = frames.shape[-1:]
        params = {"rate": self.param("rate", _first_rates, channels)}
        skip = self.param("skip", nn.initializers.ones, channels)
        mixed = Dense(channels[0], bias=False, name="input")(frames)
        memory = no_memory(frames) if memory is None else memory
        memory = self.run(terms, params, memory, mixed)
        newest = frames[-1]
        made = Dense(channels[0], name="output")(memory.astype(newest.dtype))
        made = made + newest * skip.astype(newest.dtype)
        return jnp.tanh(made.astype(memory.dtype)), memory
