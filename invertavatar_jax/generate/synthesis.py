"""StyleGAN2 synthesis: w_plus becomes features at rising resolutions and an image.

One network serves as G_tex, G_static (whose features channel-split SFT modulates) and
G_face (into whose features rasterised ones are blended).
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from invertavatar_jax.layers import NOISE, Noise, SynthesisBlock
from invertavatar_jax.settings import Backbone


def blend(
    x: Float[Array, "b h w c"], condition: Float[Array, "b h w c+1"]
) -> Float[Array, "b h w c"]:
    """Lays rasterised features over x; their last channel is their opacity in [0, 1]."""
    condition = condition.astype(x.dtype)
    alpha = condition[..., -1:]
    return condition[..., :-1] * alpha + x * (1 - alpha)


class Synthesis(nn.Module):
    """A whole synthesis network.

    Computing in bfloat16 rounds the features that pass between layers and the operands of
    convolutions; sums, styles, the image and what is returned stay float32.

    Source: SPEC section 4.
    """

    settings: Backbone
    image_channels: int
    levels: int = 4  # the last blocks, whose features are returned and may be blended into
    compute: DTypeLike = jnp.float32  # or bfloat16

    @nn.compact
    def __call__(
        self,
        w_plus: Float[Array, "b l d"],
        conditions: Sequence[Float[Array, "b _ _ _"]] = (),
        modulation: Mapping[int, Float[Array, "2 b _ _ _"]] | None = None,
        noise: Noise = NOISE,
    ) -> list[Float[Array, "b _ _ _"]]:
        """Returns, for R = resolution, [image R/8, x R/8, x R/4, x R/2, x R, image R].

        A network of fewer blocks than levels returns the features of all its blocks.

        Args:
            conditions: rasterised features and opacity in the order of the returned list, to
                blend in; those of the last block are not read (SPEC section 11.3).
            modulation: channel-split SFT by resolution, of any of the blocks.

        Raises:
            ValueError: w_plus has the wrong number of layers.
        """
        sizes = self.settings.resolutions
        if w_plus.shape[1] != self.settings.w_count:
            raise ValueError(
                f"w_plus: got {w_plus.shape[1]} layers, expected {self.settings.w_count}"
            )
        modulation = {} if modulation is None else modulation
        first = max(0, len(sizes) - self.levels)
        features, image, x = [], None, None
        for i, size in enumerate(sizes):
            block = SynthesisBlock(
                self.settings.channels(size),
                size,
                self.image_channels,
                compute=self.compute,
                name=f"b{size}",
            )
            w = w_plus[:, max(0, 2 * i - 1) : 2 * i + 2]
            x, image = block(x, image, w, modulation.get(size), noise.of(f"b{size}"))
            if i < first:
                continue
            blended = bool(conditions) and i < len(sizes) - 1
            if i == first:
                image = blend(image, conditions[0]) if blended else image
                features.append(image)
            x = blend(x, conditions[len(features)]) if blended else x
            features.append(x.astype(w_plus.dtype))
        return [*features, image]
