"""StyleUNet: an image is encoded, and decoded again by synthesis blocks styled by w_plus.

Next3D, the baseline prior, draws the mouth with one such network and blends the driven
texture into the frontal plane with another, where the method of this package has G_face.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.layers import NOISE, EqualConv, Noise, SynthesisBlock
from invertavatar_jax.ops.upfirdn import downsample2d
from invertavatar_jax.settings import Backbone, UNetSizes


class EncoderLevel(nn.Module):
    """One level of the encoder: features of the image, added to those of the level before.

    Source: NEXT3D section 6.
    """

    width: int
    features: int  # channels of the result

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], before: Float[Array, "b h w i"] | None
    ) -> Float[Array, "b h//2 w//2 o"]:
        """Returns features at half the resolution.

        Args:
            before: features of the level before; None for the first.
        """
        x = EqualConv(self.width, 1, bias=False, name="fromrgb")(image)
        x = x if before is None else x + before
        x = EqualConv(self.width, activation="lrelu", name="conv1")(x)
        return EqualConv(self.features, down=2, activation="lrelu", name="conv2")(x)


class StyleUNet(nn.Module):
    """Encoder of an image and decoder with skips; returns the last block's skip image.

    The released networks hold parts that no image passes: the blocks up to the encoder's last
    resolution, and the fusion at the input's. They are created with the others, so that names
    and numbers of parameters are equal, but never computed.

    Source: NEXT3D section 6.
    """

    backbone: Backbone
    sizes: UNetSizes
    image_channels: int

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w c"],
        w_plus: Float[Array, "b l d"],
        noise: Noise = NOISE,
    ) -> Float[Array, "b r r o"]:
        """Returns an image of the backbone's resolution; reads w_plus from the first block run.

        Raises:
            ValueError: the image or w_plus has the wrong size.
        """
        self._check(image, w_plus)
        encoded = self._encode(image)
        channels, last = self.backbone.channels, self.sizes.last
        x, rgb = None, None
        for i, side in enumerate(self.backbone.resolutions):
            block = SynthesisBlock(channels(side), side, self.image_channels, name=f"b{side}")
            w = w_plus[:, max(0, 2 * i - 1) : 2 * i + 2]
            if side > last:
                x = self._fuse(x, encoded.get(side // 2), side // 2)
                x, rgb = block(x, rgb, w, None, noise.of(f"b{side}"))
            elif self.is_initializing():
                before = None if i == 0 else self._nothing(channels(side // 2))
                block(before, None, w, None, Noise("none"))
        if self.is_initializing():
            unused = self._nothing(channels(self.sizes.input))
            self._fuse(unused, unused, self.sizes.input)
        return rgb

    def _encode(self, image) -> dict[int, Float[Array, "b h w c"]]:
        """Features by resolution."""
        channels, side = self.backbone.channels, self.sizes.input
        features, encoded = None, {}
        for i in range((side // self.sizes.last).bit_length() - 1):
            image = image if i == 0 else downsample2d(image)
            level = EncoderLevel(channels(side), channels(side // 2), name=f"encoder_{i}")
            features, side = level(image, features), side // 2
            encoded[side] = features
        return encoded

    def _fuse(self, x, features, side: int):
        """Joins what the decoder and the encoder know at a resolution."""
        if features is None:
            return x
        joined = features if side == self.sizes.last else jnp.concatenate([x, features], -1)
        level = (side // self.sizes.last).bit_length() - 1
        return EqualConv(self.backbone.channels(side), name=f"fusion_{level}")(joined)

    def _nothing(self, channels: int) -> Float[Array, "1 1 1 c"]:
        return jnp.zeros((1, 1, 1, channels))

    def _check(self, image, w_plus) -> None:
        side, layers = self.sizes.input, self.backbone.w_count
        if image.shape[1:3] != (side, side) or w_plus.shape[1] != layers:
            raise ValueError(
                f"got an image of {image.shape[1]} x {image.shape[2]} pixels and "
                f"{w_plus.shape[1]} layers of w_plus, expected {side} x {side} and {layers}"
            )
