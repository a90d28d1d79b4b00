"""A ConvGRU whose gate and candidate read the frame alone: its steps can run all at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.aggregate import linear
from invertavatar_jax.aggregate.conv_gru import Gate, apply_gate, no_memory
from invertavatar_jax.aggregate.linear import Terms


def terms(gates: linear.Params, frames: Float[Array, "t b h w c"]) -> Terms:
    """What each frame keeps of the memory, and what it adds: 1 - z, and z times the candidate.

    Args:
        gates: a `Gate` of update gate and candidate.
    """
    wide = jnp.promote_types(frames.dtype, jnp.float32)
    both = apply_gate(gates, linear.flat(frames)).astype(wide)
    both = both.reshape(*frames.shape[:-1], -1)
    renew, candidate = jnp.split(both, 2, axis=-1)
    return jax.nn.sigmoid(-renew), jax.nn.sigmoid(renew) * jnp.tanh(candidate)


class MinConvGRU(nn.Module):
    """An aggregator (see registry): h = (1 - z) h + z c, with z and c of the frame.

    Beside conv_gru there is no reset gate, and the memory has no say in what is kept of it.

    Attributes:
        run: one of linear.Run; they differ in time and memory, not in the result.

    Source: the minimal GRU of Feng et al. 2024 ("Were RNNs All We Needed?"), with convolutions.
    Deviation: the candidate passes tanh, as in conv_gru, so that both memories have one range.
    """

    run: linear.Run = linear.in_turn

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Float[Array, "b h w c"] | None
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
        """Features and memory, which are the same."""
        channels = frames.shape[-1]
        gates = Gate(channels, 2 * channels, name="gates")()
        memory = no_memory(frames) if memory is None else memory
        memory = self.run(terms, gates, memory, frames)
        return memory, memory
