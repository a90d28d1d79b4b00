"""The two critics of training: of pictures in pairs, and of latent codes."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.layers import Dense, EqualConv, Linear
from invertavatar_jax.ops.moments import append_minibatch_std, normalize_second_moment
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.settings import Backbone

PAPER_SIZES = Backbone(resolution=512)
_LABEL_LAYERS, _LABEL_LR = 8, 0.01  # the released model's
_HALF = float(np.sqrt(0.5))  # gain of both branches, so that their sum keeps the variance


class LabelMapping(nn.Module):
    """Maps a camera to the direction along which the discriminator's features are read.

    Source: SPEC section 10 ("cmap"), with the layers of section 3.
    """

    width: int

    @nn.compact
    def __call__(self, camera: Float[Array, "b c"]) -> Float[Array, "b w"]:
        x = normalize_second_moment(Linear(self.width, name="embed")(camera))
        for i in range(_LABEL_LAYERS):
            x = Linear(self.width, "lrelu", _LABEL_LR, name=f"fc{i}")(x)
        return x


class ResidualBlock(nn.Module):
    """Two convolutions, the second halving the resolution, beside a linear short cut."""

    features: int  # of the output
    entry: bool  # this block reads the picture
    clamp: float | None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], width: int) -> Float[Array, "b h//2 w//2 o"]:
        """Returns the features at half of the resolution; `width` is that of the input's."""
        layer = lambda features, name, **options: EqualConv(
            features, activation="lrelu", clamp=self.clamp, name=name, **options
        )
        if self.entry:
            x = layer(width, "fromrgb", kernel=1)(x)
        short = EqualConv(self.features, kernel=1, down=2, bias=False, name="skip")(x, _HALF)
        x = layer(width, "conv0")(x)
        return short + layer(self.features, "conv1", down=2)(x, _HALF)


class Epilogue(nn.Module):
    """Reads the 4 x 4 features along the label's direction: one number a sample."""

    width: int
    group: int  # of the minibatch's standard deviation
    clamp: float | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b 4 4 c"], direction: Float[Array, "b w"]
    ) -> Float[Array, "b 1"]:
        channels = x.shape[-1]
        x = append_minibatch_std(x.astype(jnp.float32), self.group)
        x = EqualConv(channels, activation="lrelu", clamp=self.clamp, name="conv")(x)
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # the released order of its weights
        x = Linear(self.width, "lrelu", name="fc")(x)
        x = Linear(self.width, name="out")(x)
        return (x * direction).sum(-1, keepdims=True) / np.sqrt(self.width)


class Judgement(NamedTuple):
    """What the discriminator says of pictures."""

    logits: Float[Array, "b 1"]  # positive: real
    features: tuple[Float[Array, "b _ _ _"], ...]  # after each block, the largest first


class DualDiscriminator(nn.Module):
    """Judges a picture together with the neural image that it was made from.

    Both are stacked at the picture's resolution, so that a super-resolution which does not
    agree with the neural image shows. A landmark map may join them.

    Source: paper 3.1 (landmark map), A.1.1; SPEC section 10.
    Deviation: float32 throughout, where the released one runs in float16 on GPUs.
    """

    sizes: Backbone = PAPER_SIZES
    clamp: float | None = 256.0
    group: int = 4

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h h 3"],
        neural: Float[Array, "b r r c"],
        camera: Float[Array, "b k"],
        landmarks: Float[Array, "b r r 3"] | None = None,
    ) -> Judgement:
        """Judges pictures.

        Args:
            neural: the first three channels of the neural image, any resolution.
            camera: the 25 numbers of a Camera; zeros where pose must not matter.
            landmarks: a picture of the landmarks' contours; None for networks without one.

        Raises:
            ValueError: the picture is not a square of the network's resolution.
        """
        side = self.sizes.resolution
        if image.shape[1:3] != (side, side):
            got = f"{image.shape[1]} x {image.shape[2]}"
            raise ValueError(f"discriminator: got pictures of {got}, expected {side} x {side}")
        below = [neural] if landmarks is None else [landmarks, neural]
        x = jnp.concatenate([image, *(resize_antialias(part, (side, side)) for part in below)], -1)
        features = []
        for resolution in reversed(self.sizes.resolutions[1:]):
            width, after = self.sizes.channels(resolution), self.sizes.channels(resolution // 2)
            block = ResidualBlock(after, resolution == side, self.clamp, name=f"b{resolution}")
            x = block(x, width)
            features.append(x)
        width = self.sizes.channels(4)
        direction = LabelMapping(width, name="mapping")(camera)
        logits = Epilogue(width, self.group, self.clamp, name="b4")(x, direction)
        return Judgement(logits, tuple(features))


class LatentDiscriminator(nn.Module):
    """Judges single codes w: drawn by the mapping network, or made by E_latent.

    Source: TRAINING B (stage 1 of the encoders).
    """

    width: int = 512
    layers: int = 4

    @nn.compact
    def __call__(self, w: Float[Array, "*b d"]) -> Float[Array, "*b 1"]:
        x = w
        for i in range(self.layers - 1):
            x = jax.nn.leaky_relu(Dense(self.width, name=f"mlp_{2 * i}")(x), 0.2)
        return Dense(1, name=f"mlp_{2 * (self.layers - 1)}")(x)
