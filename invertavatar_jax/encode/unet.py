"""E_tex and E_tri: frames -> offsets of the neural texture, modulation of the tri-planes.

Both are U-Nets from an IR-SE trunk. With an aggregator they fold any number of frames into
a memory with one tree per level (paper 3.4); without one they are the one-shot networks
(paper 3.3), which read a single frame and have no memory.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from invertavatar_jax import settings
from invertavatar_jax.encode import backbone, decoder
from invertavatar_jax.encode.decoder import Aggregator, Decoded, Memory
from invertavatar_jax.layers import Conv, PReLU
from invertavatar_jax.ops.resize import pixel_shuffle, pool_to

SLOPE = 0.2  # of the leaky rectifier in a modulation head


class _Unet(nn.Module):
    """What both share: sizes, and the way from frames to one feature map a level.

    Trunks always normalise with stored statistics; `batch_statistics` is the decoder's
    mode, over all frames of the chunk (SPEC section 9.6).
    """

    target: settings.Backbone  # the network whose features the outputs change
    trunk: settings.Trunk
    sizes: settings.Decoder
    aggregator: Aggregator | None = None
    batch_statistics: bool = False
    compute: DTypeLike = jnp.float32  # or bfloat16, of features; memory and results are float32

    def decoded(self, frames: Float[Array, "t b h w c"], memory: Memory | None) -> Decoded:
        """Pools the frames to the resolution that the outputs ask for, and decodes them."""
        side = self.target.resolution * self.trunk.patch
        pooled = pool_to(frames.reshape(-1, *frames.shape[2:]), side).astype(self.compute)
        levels = backbone.trunk_levels(self.trunk, pooled, batch_statistics=False)
        return decoder.decode(
            self.sizes,
            levels,
            frames.shape[0],
            memory,
            aggregator=self.aggregator,
            batch_statistics=self.batch_statistics,
        )


class TextureEncoder(_Unet):
    """E_tex: UV maps of t frames -> offsets to the features of the texture network.

    Returns the offsets in the order in which G_tex lists its features, at R/8 (image), R/8,
    R/4 and R/2 of its resolution R, and the memory. They are zero when freshly initialised.

    Source: paper 3.3, 3.4; SPEC section 9.2.
    """

    image_channels: int = 32

    @nn.compact
    def __call__(
        self, frames: Float[Array, "t b h w c"], memory: Memory | None = None
    ) -> tuple[tuple[Float[Array, "b _ _ _"], ...], Memory]:
        states, kept = self.decoded(frames, memory)
        zeros = nn.initializers.zeros
        wide = jnp.promote_types(states[0].dtype, jnp.float32)

        def head(features, name, state):
            layer = Conv(features, 1, weight_init=zeros, name=name)
            return layer(state.astype(self.compute)).astype(wide)

        offsets = [head(self.image_channels, "outconv0", states[1])]
        for i, state in enumerate(states[1:], start=1):
            features = self.target.channels(state.shape[1])
            offsets.append(head(features, f"outconv{i}", state))
        return tuple(offsets), kept


class TriplaneEncoder(_Unet):
    """E_tri: images of t frames -> scale and shift for half of the tri-plane features.

    Returns {resolution: [scale, shift]} for resolutions R/16 to R of the tri-plane network,
    and the memory. Scales are 1 and shifts 0 when freshly initialised; with `offsets` all
    scales stay 1 (the ablation of paper 4.3.2).

    Source: paper 3.3, 3.4; SPEC section 9.3.
    """

    offsets: bool = False

    @nn.compact
    def __call__(
        self, frames: Float[Array, "t b h w c"], memory: Memory | None = None
    ) -> tuple[dict[int, Float[Array, "2 b _ _ _"]], Memory]:
        states, kept = self.decoded(frames, memory)
        x = pixel_shuffle(states[-1].astype(self.compute), 2)
        for i in (0, 2):
            x = Conv(self.sizes.head_channels, name=f"final_head_{i}")(x)
            x = PReLU(name=f"final_head_{i + 1}")(x)
        # the tri-plane network's first block (4) has no place for a modulation
        deep = [state for state in (*states, x) if state.shape[1] > 4]
        modulation = {state.shape[1]: self._modulate(state) for state in deep}
        return modulation, kept

    def _modulate(self, x: Float[Array, "b r r c"]) -> Float[Array, "2 b r r o"]:
        narrow, wide = x.astype(self.compute), jnp.promote_types(x.dtype, jnp.float32)
        shift = self._head(narrow, "shift", 0.0)
        scale = jnp.ones_like(shift) if self.offsets else self._head(narrow, "scale", 1.0)
        return jnp.stack([scale, shift]).astype(wide)

    def _head(self, x: Float[Array, "b r r c"], kind: str, start: float):
        resolution, channels = x.shape[1], x.shape[-1]
        name = f"condition_{kind}{resolution}"
        x = jax.nn.leaky_relu(Conv(channels, name=f"{name}_0")(x), SLOPE)
        return Conv(
            self.target.channels(resolution) // 2,
            weight_init=nn.initializers.zeros,
            bias_init=nn.initializers.constant(start),
            name=f"{name}_2",
        )(x)


def texture_encoder(
    model: settings.Model,
    aggregator: Aggregator | None = None,
    *,
    batch_statistics: bool = False,
    compute: DTypeLike = jnp.float32,
) -> TextureEncoder:
    """E_tex in the sizes of `model`; without an aggregator, the one-shot network."""
    return TextureEncoder(
        model.backbone,
        model.texture_trunk,
        model.texture_decoder,
        aggregator,
        batch_statistics,
        compute,
        model.plane_channels,
    )


def triplane_encoder(
    model: settings.Model,
    aggregator: Aggregator | None = None,
    *,
    batch_statistics: bool = False,
    compute: DTypeLike = jnp.float32,
) -> TriplaneEncoder:
    """E_tri in the sizes of `model`; without an aggregator, the one-shot network."""
    return TriplaneEncoder(
        model.backbone,
        model.triplane_trunk,
        model.triplane_decoder,
        aggregator,
        batch_statistics,
        compute,
        model.triplane_offsets,
    )
