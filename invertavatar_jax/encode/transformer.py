"""The transformer of a one-shot decoder's level: SegFormer blocks at half of its resolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.layers import Conv, Dense, LayerNorm
from invertavatar_jax.ops.resize import pixel_shuffle

MLP_RATIO = 2  # hidden channels per channel
QUERIES = 1024  # attended from at a time: bounds the memory of their attention maps


class DepthwiseConv(nn.Module):
    """A 3 x 3 convolution of each channel by itself, with zero padding.

    As nine shifted products, which XLA joins into one loop; its grouped convolution is slower
    on a CPU.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        h, w, channels = x.shape[1:]
        weight = self.param("weight", nn.initializers.lecun_normal(), (3, 3, 1, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = jnp.broadcast_to(bias.astype(x.dtype), x.shape)
        for i in range(3):
            for j in range(3):
                y = y + padded[:, i : i + h, j : j + w] * weight[i, j].astype(x.dtype)
        return y


def attend(
    query: Float[Array, "b n k d"], key: Float[Array, "b m k d"], value: Float[Array, "b m k d"]
) -> Float[Array, "b n k d"]:
    """Softmax attention of k heads, each query to all keys."""

    def some(queries: Float[Array, "b q k d"]) -> Float[Array, "b q k d"]:
        scores = jnp.einsum("bqkd,bmkd->bkqm", queries, key) * queries.shape[-1] ** -0.5
        return jnp.einsum("bkqm,bmkd->bqkd", jax.nn.softmax(scores, -1), value)

    b, n, heads, d = query.shape
    if n <= QUERIES or n % QUERIES:
        return some(query)
    parts = query.reshape(b, -1, QUERIES, heads, d).swapaxes(0, 1)
    return lax.map(some, parts).swapaxes(0, 1).reshape(query.shape)


class Attention(nn.Module):
    """Every pixel attends to all pixels."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, channels = x.shape
        if channels % self.heads:
            raise ValueError(f"got {channels} channels, expected a multiple of {self.heads} heads")
        tokens = x.reshape(b, h * w, channels)
        split = lambda y: y.reshape(b, h * w, self.heads, channels // self.heads)
        query = split(Dense(channels, bias=False, name="q")(tokens))
        both = Dense(2 * channels, bias=False, name="kv")(tokens)
        key, value = (split(y) for y in jnp.split(both, 2, -1))
        y = attend(query, key, value).reshape(b, h, w, channels)
        return Dense(channels, name="proj")(y)


class PixelConv(nn.Module):
    """Holds the depthwise convolution: the released names have this level."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return DepthwiseConv(name="dwconv")(x)


class Mlp(nn.Module):
    """Two linear layers with a depthwise convolution between them, which tells positions."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = Dense(MLP_RATIO * x.shape[-1], name="fc1")(x)
        y = jax.nn.gelu(PixelConv(name="dwconv")(y), approximate=False)
        return Dense(x.shape[-1], name="fc2")(y)


class MixBlock(nn.Module):
    """One block: attention, then the perceptron, each normalised first and added. SPEC 9.4."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = x + Attention(self.heads, name="attn")(LayerNorm(name="norm1")(x))
        return x + Mlp(name="mlp")(LayerNorm(name="norm2")(x))


class PatchEmbed(nn.Module):
    """Overlapping patches of 7 x 7 pixels, one at every second pixel, as normalised features."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        return LayerNorm(name="norm")(Conv(self.features, 7, stride=2, name="proj")(x))


class Transformer(nn.Module):
    """Replaces a feature map by what `depth` blocks make of its patches; keeps its shape.

    Source: SPEC section 9.4.
    """

    depth: int
    channels: int
    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        if x.shape[1] % 2 or x.shape[2] % 2:
            raise ValueError(f"got features of {x.shape[1:3]}, expected even sides")
        y = PatchEmbed(self.channels, name="patch_embed")(x)
        for i in range(self.depth):
            y = MixBlock(self.heads, name=f"ViT_{i}")(y)
        y = pixel_shuffle(LayerNorm(name="norm")(y), 2)
        return Conv(x.shape[-1], 1, name="mlp")(y)
