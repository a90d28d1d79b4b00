"""Super-resolution: the neural image becomes the output image."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from invertavatar_jax import settings
from invertavatar_jax.layers import Noise, SynthesisBlock
from invertavatar_jax.ops.resize import resize_antialias


class SuperResolution(nn.Module):
    """Two synthesis blocks without noise, styled by the last layer of w_plus.

    Of the released sizes it is the model's SuperresolutionHybrid8XDC. If the output is twice
    the neural resolution only the last block doubles; if it is equal, none does.

    Source: SPEC section 8.
    """

    settings: settings.Renderer
    compute: DTypeLike = jnp.float32  # or bfloat16, as of generate.synthesis.Synthesis

    @nn.compact
    def __call__(
        self,
        rgb: Float[Array, "b n n 3"],
        features: Float[Array, "b n n c"],
        w_plus: Float[Array, "b l d"],
    ) -> Float[Array, "b h w 3"]:
        """Returns the image, in about [-1, 1].

        An input of another size than the neural resolution is resized to it first.

        Raises:
            ValueError: the output's side is not 1, 2 or 4 times the neural resolution.
        """
        sizes = self.settings
        ratio = sizes.image_resolution / sizes.neural_resolution
        doublings = {1: (1, 1), 2: (1, 2), 4: (2, 2)}.get(ratio)
        if doublings is None:
            raise ValueError(
                f"image_resolution: got {sizes.image_resolution}, expected 1, 2 or 4 times the "
                f"neural_resolution of {sizes.neural_resolution}"
            )
        side = sizes.neural_resolution
        image, x = (resize_antialias(value, (side, side)) for value in (rgb, features))
        x, w = x.astype(self.compute), w_plus[:, -1:].repeat(3, axis=1)
        for i, (up, channels) in enumerate(
            zip(doublings, sizes.superresolution_channels, strict=True)
        ):
            side *= up
            clamp = sizes.superresolution_clamp
            block = SynthesisBlock(channels, side, 3, up, clamp, name=f"block{i}")
            x, image = block(x, image, w, None, Noise("none"))
        return image
