"""E_latent: one image -> w_plus, the latent code of every layer of the generator."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from invertavatar_jax import settings
from invertavatar_jax.encode import backbone
from invertavatar_jax.layers import Conv, Linear
from invertavatar_jax.ops.resize import pool_to, resize_align_corners

COARSE, MIDDLE = 3, 4  # layers of w_plus read off the coarsest and the middle features
SLOPE = 0.01  # of the leaky rectifier in a style block


class GradualStyleBlock(nn.Module):
    """Halves a feature map until one pixel is left, and maps that to a latent code."""

    w_dim: int

    @nn.compact
    def __call__(self, x: Float[Array, "b r r c"]) -> Float[Array, "b w"]:
        if x.shape[1] != x.shape[2] or x.shape[1].bit_count() != 1:
            raise ValueError(f"got features of {x.shape[1:3]}, expected a square power of two")
        for i in range(x.shape[1].bit_length() - 1):
            # the released list holds a rectifier after each convolution: even positions
            x = Conv(x.shape[-1], stride=2, name=f"convs_{2 * i}")(x)
            x = jax.nn.leaky_relu(x, SLOPE)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return Linear(self.w_dim, name="linear")(x[:, 0, 0].astype(wide))


class LatentEncoder(nn.Module):
    """Encodes an image as w_plus, coarse layers from coarse features.

    With `batch_statistics` batch normalisation uses the batch's own statistics, as the
    released evaluation does with a batch of one image (SPEC section 9.6).

    Source: paper 3.3, A.3; SPEC section 9.1.
    """

    trunk: settings.Trunk
    side: int  # the image is pooled to it
    w_count: int
    w_dim: int
    batch_statistics: bool = False
    compute: DTypeLike = jnp.float32  # or bfloat16, of features; w_plus is float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], w_avg: Float[Array, " w"]
    ) -> Float[Array, "b l w"]:
        image = pool_to(image, self.side).astype(self.compute)
        levels = backbone.trunk_levels(self.trunk, image, batch_statistics=self.batch_statistics)
        fine, middle, coarse = levels.stages[-3:]
        lateral = lambda x, name: Conv(coarse.shape[-1], 1, name=name)(x)
        middle = lateral(middle, "latlayer1") + self._enlarge(coarse, middle)
        fine = lateral(fine, "latlayer2") + self._enlarge(middle, fine)
        codes = []
        for i in range(self.w_count):
            features = coarse if i < COARSE else middle if i < COARSE + MIDDLE else fine
            codes.append(GradualStyleBlock(self.w_dim, name=f"styles_{i}")(features))
        deltas = jnp.stack(codes[1:], axis=1)
        first = codes[0][:, None]
        return w_avg + jnp.concatenate([first, first + deltas], axis=1)

    def _enlarge(self, x, like):
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return resize_align_corners(x.astype(wide), like.shape[1:3]).astype(x.dtype)


def latent_encoder(
    model: settings.Model,
    *,
    batch_statistics: bool = False,
    compute: DTypeLike = jnp.float32,
) -> LatentEncoder:
    """E_latent in the sizes of `model`.

    Raises:
        ValueError: the trunk has fewer than three stages.
    """
    if len(model.latent_trunk.channels) < 3:
        raise ValueError(f"got a trunk {model.latent_trunk}, expected at least three stages")
    return LatentEncoder(
        model.latent_trunk,
        model.latent_input,
        model.backbone.w_count,
        model.w_dim,
        batch_statistics,
        compute,
    )
