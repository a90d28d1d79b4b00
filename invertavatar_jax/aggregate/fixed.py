"""The paper's baselines: a fixed window of frames is merged at once, and nothing is kept.

For longer clips the canonical features of windows are averaged; see
inversion.reconstruct_windows.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.aggregate.attention import TimeAttention
from invertavatar_jax.layers import Conv, Dense, LayerNorm, PReLU

MLP_RATIO = 2  # hidden channels per channel


def _check(name: str, window: int, count: int, memory: tuple[()] | None) -> None:
    """Refuses what a fixed window cannot hold.

    Raises:
        ValueError: more frames than the window, or frames from before.
    """
    if memory is not None:
        raise ValueError(
            f"{name}: got the memory of frames before, expected none: it merges up to {window} "
            "frames at once; inversion.reconstruct_windows averages over longer clips"
        )
    if count > window:
        raise ValueError(f"{name}: got {count} frames, expected at most its window of {window}")


class ConvFusion(nn.Module):
    """An aggregator (see registry): convolutions compress the frames of a window into one map.

    Fewer frames are repeated from the first on until they fill the window.

    Source: paper 4.3.1.
    Deviation: the paper gives neither the layers nor the window; four frames are what its
        networks see at a time in training (A.2.3).
    """

    window: int = 4

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: tuple[()] | None
    ) -> tuple[Float[Array, "b h w c"], tuple[()]]:
        """Features, and an empty memory."""
        _check("conv_fusion", self.window, len(frames), memory)
        channels, wide = frames.shape[-1], jnp.promote_types(frames.dtype, jnp.float32)
        x = jnp.concatenate([frames[i % len(frames)] for i in range(self.window)], -1)
        x = PReLU(name="conv_1")(Conv(channels, name="conv_0")(x))
        return jnp.tanh(Conv(channels, name="conv_2")(x).astype(wide)), ()


class AttFusion(nn.Module):
    """An aggregator (see registry): a transformer block over the frames, then their mean.

    The frames of a pixel are its tokens, in no order.

    Source: paper B.1.
    Deviation: the paper gives the window alone, not the block.
    """

    window: int = 3

    @nn.compact
    def fold(
        self, frames: Float[Array, "t b h w c"], memory: tuple[()] | None
    ) -> tuple[Float[Array, "b h w c"], tuple[()]]:
        """Features, and an empty memory."""
        _check("att_fusion", self.window, len(frames), memory)
        channels, wide = frames.shape[-1], jnp.promote_types(frames.dtype, jnp.float32)
        y = LayerNorm(name="norm1")(frames)
        x = frames + TimeAttention(name="attention")(y, y, jnp.ones(y.shape[:2], bool))
        y = Dense(MLP_RATIO * channels, name="fc1")(LayerNorm(name="norm2")(x))
        x = x + Dense(channels, name="fc2")(jax.nn.gelu(y, approximate=False))
        return jnp.tanh(x.astype(wide).mean(0)), ()
