"""Flax layers shared by the stages.

Leaves carry the names of the released checkpoints (weight, bias, running_mean, ...), and
submodules too, with list positions joined by an underscore (`body.3.fc1` is `body_3/fc1`),
so that one rule converts every network (convert/names.py). Layout: convolution weights
HWIO, linear weights (in, out).
"""

import dataclasses
import functools
import zlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from invertavatar_jax.ops import conv
from invertavatar_jax.ops.bias_act import bias_act
from invertavatar_jax.ops.modulated_conv import channel_split_sft, modulated_conv
from invertavatar_jax.ops.resample import conv2d_down, conv2d_up
from invertavatar_jax.ops.row_blocks import operand_type
from invertavatar_jax.ops.upfirdn import upsample2d


class Conv(nn.Module):
    """A plain convolution, as torch.nn.Conv2d computes it."""

    features: int
    kernel: int = 3
    stride: int = 1
    bias: bool = True
    weight_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    padding: int | None = None  # None is kernel // 2

    @nn.compact
    def __call__(self, x: Float[Array, "*b h w i"]) -> Float[Array, "*b p q o"]:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        weight = self.param("weight", self.weight_init, shape)
        padding = self.kernel // 2 if self.padding is None else self.padding
        kind = operand_type(x)
        y = conv.conv2d(x.astype(kind), weight.astype(kind), self.stride, padding)
        y = jnp.astype(y, x.dtype)
        if not self.bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,))
        return y + bias.astype(x.dtype)


class Dense(nn.Module):
    """A plain linear layer, as torch.nn.Linear computes it."""

    features: int
    bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        shape = (x.shape[-1], self.features)
        weight = self.param("weight", nn.initializers.lecun_normal(), shape)
        y = x @ weight.astype(x.dtype)
        if not self.bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)


class Linear(nn.Module):
    """An equalised-learning-rate linear layer. SPEC section 0 ("eqlr") and 3.

    The stored weight is N(0, 1) / lr_multiplier and is scaled when used.
    """

    features: int
    activation: str = "linear"
    lr_multiplier: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        fan_in = x.shape[-1]
        init = nn.initializers.normal(1.0 / self.lr_multiplier)
        weight = self.param("weight", init, (fan_in, self.features))
        start = nn.initializers.constant(self.bias_init / self.lr_multiplier)
        bias = self.param("bias", start, (self.features,))
        weight = (weight * (self.lr_multiplier / np.sqrt(fan_in))).astype(x.dtype)
        return bias_act(x @ weight, bias * self.lr_multiplier, self.activation)


class EqualConv(nn.Module):
    """An equalised-learning-rate convolution, bias and activation; may change the resolution.

    The stored weight is N(0, 1) and is scaled when used. SPEC sections 0 ("eqlr") and 2.
    """

    features: int
    kernel: int = 3
    down: int = 1  # 2 halves the resolution
    activation: str = "linear"
    bias: bool = True
    up: int = 1  # 2 doubles the resolution
    clamp: float | None = None  # bound on the magnitude of the result, before `gain`

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], gain: float = 1.0) -> Float[Array, "b p q o"]:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        weight = self.param("weight", nn.initializers.normal(1.0), shape)
        weight = (weight * (1 / np.sqrt(np.prod(shape[:3])))).astype(x.dtype)
        if self.up == 2:
            y = conv2d_up(x, weight)
        elif self.down == 2:
            y = conv2d_down(x, weight)
        else:
            y = conv.conv2d(x, weight, 1, self.kernel // 2)
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, (self.features,)) if self.bias else None
        y = bias_act(y, bias, self.activation, clamp=self.clamp)
        return y if gain == 1.0 else y * gain


class BatchNorm(nn.Module):
    """Batch normalisation with explicit statistics: stored ones, or those of the batch.

    Statistics of the batch are the released evaluation's mode (SPEC section 9.6); they are
    taken over all axes but the last, with the biased variance. Where the collection buffers
    is mutable they move the stored ones, as torch.nn.BatchNorm2d does in training.
    """

    batch_statistics: bool = False
    epsilon: float = 1e-5
    momentum: float = 0.1  # share of the batch in the stored statistics that it moves

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        channels = x.shape[-1:]
        weight = self.param("weight", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        stored = (
            self.variable("buffers", "running_mean", jnp.zeros, channels),
            self.variable("buffers", "running_var", jnp.ones, channels),
        )
        mean, var = (statistic.value for statistic in stored)
        if self.batch_statistics:
            axes = tuple(range(x.ndim - 1))
            mean, var = (moment(x.astype(wide), axes) for moment in (jnp.mean, jnp.var))
            if self.is_mutable_collection("buffers") and not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * (count / max(count - 1, 1))
                for old, new in zip(stored, (mean, unbiased), strict=True):
                    moved = (1 - self.momentum) * old.value + self.momentum * new
                    old.value = jax.lax.stop_gradient(moved)
        scale = weight * jax.lax.rsqrt(var + self.epsilon)
        shift = bias - mean * scale
        return (x.astype(wide) * scale.astype(wide) + shift.astype(wide)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Normalises the channels of each pixel, then scales and shifts them."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        weight = self.param("weight", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        centred = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return centred * scale * weight.astype(x.dtype) + bias.astype(x.dtype)


class PReLU(nn.Module):
    """A leaky rectifier with one trained slope per channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        slope = self.param("weight", nn.initializers.constant(0.25), x.shape[-1:])
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


REDUCTION = 16  # of channels inside squeeze-and-excitation


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from all channels' means."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        wide = jnp.promote_types(x.dtype, jnp.float32)
        mean = x.astype(wide).mean((1, 2), keepdims=True)
        hidden = Conv(max(channels // REDUCTION, 1), 1, bias=False, name="fc1")(mean)
        gate = Conv(channels, 1, bias=False, name="fc2")(jax.nn.relu(hidden))
        return (x.astype(wide) * jax.nn.sigmoid(gate)).astype(x.dtype)


class BottleneckIRSE(nn.Module):
    """One improved-residual unit with squeeze-and-excitation.

    Source: paper A.3; SPEC section 9.1.
    """

    features: int
    stride: int = 1
    batch_statistics: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        norm = lambda name: BatchNorm(self.batch_statistics, name=name)
        conv = lambda kernel, stride, name: Conv(
            self.features, kernel, stride, bias=False, name=name
        )
        if x.shape[-1] == self.features:
            shortcut = x[:, :: self.stride, :: self.stride]
        else:
            shortcut = conv(1, self.stride, "shortcut_layer_0")(x)
            shortcut = norm("shortcut_layer_1")(shortcut)
        y = conv(3, 1, "res_layer_1")(norm("res_layer_0")(x))
        y = PReLU(name="res_layer_2")(y)
        y = norm("res_layer_4")(conv(3, self.stride, "res_layer_3")(y))
        return shortcut + SqueezeExcite(name="res_layer_5")(y)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["key"], meta_fields=["mode"])
@dataclasses.dataclass(frozen=True)
class Noise:
    """What every synthesis layer adds to its features, scaled by a trained strength."""

    mode: str = "const"  # const: the stored image; random: drawn with `key`; none
    key: jax.Array | None = None

    def of(self, layer: str) -> "Noise":
        """The noise of a named part: independent of that of other names."""
        if self.key is None:
            return self
        return Noise(self.mode, jax.random.fold_in(self.key, zlib.crc32(layer.encode())))


NOISE = Noise()


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution, noise and a leaky rectifier. SPEC section 4."""

    features: int
    resolution: int  # of the output
    up: int = 1
    clamp: float | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"], w: Float[Array, "b d"], noise: Noise = NOISE
    ) -> Float[Array, "b p q o"]:
        channels, side = x.shape[-1], self.resolution
        normal = nn.initializers.normal(1.0)
        style = Linear(channels, bias_init=1.0, name="affine")(w)
        weight = self.param("weight", normal, (3, 3, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        draw = lambda: jax.random.normal(self.make_rng("params"), (side, side))
        stored = self.variable("buffers", "noise_const", draw)
        y = modulated_conv(x, weight, style, up=self.up)
        if noise.mode != "none":
            pattern = self._pattern(noise, stored.value, y.shape[0])
            y = y + (pattern * strength).astype(y.dtype)
        return bias_act(y, bias, "lrelu", clamp=self.clamp).astype(x.dtype)

    def _pattern(self, noise: Noise, stored, batch: int) -> Float[Array, "n h w 1"]:
        if noise.mode == "const":
            return stored[None, :, :, None]
        if noise.mode == "random" and noise.key is not None:
            return jax.random.normal(noise.key, (batch, *stored.shape, 1))
        raise ValueError(f"got {noise}, expected mode const, none, or random with a key")


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution without demodulation; float32. SPEC section 4."""

    features: int
    clamp: float | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"], w: Float[Array, "b d"]
    ) -> Float[Array, "b h w o"]:
        channels = x.shape[-1]
        normal = nn.initializers.normal(1.0)
        style = Linear(channels, bias_init=1.0, name="affine")(w) * (1 / np.sqrt(channels))
        weight = self.param("weight", normal, (1, 1, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return bias_act(modulated_conv(x, weight, style, demodulate=False), bias, clamp=self.clamp)


class BlockOutput(NamedTuple):
    """What one block hands to the next."""

    features: Float[Array, "b h w c"]
    image: Float[Array, "b h w o"]  # float32, the sum over blocks so far


class SynthesisBlock(nn.Module):
    """Two convolutions, the first doubling the resolution, and a skip image. SPEC section 4."""

    features: int
    resolution: int  # of the output
    image_channels: int
    up: int = 2
    clamp: float | None = None
    compute: DTypeLike = jnp.float32  # of the trained constant; features after it follow

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w i"] | None,
        image: Float[Array, "b h w o"] | None,
        w: Float[Array, "b n d"],
        modulation: Float[Array, "2 b p q c//2"] | None = None,
        noise: Noise = NOISE,
    ) -> BlockOutput:
        """Returns features and image.

        Args:
            x: None starts from the trained constant, with one convolution.
            image: of the block before; None for the first.
            w: one style for every convolution and one for the image.
            modulation: scale and shift of half of the channels, between the convolutions.
        """
        layer = lambda up, name: SynthesisLayer(
            self.features, self.resolution, up, self.clamp, name=name
        )
        if x is None:
            x = self._start(w)
        else:
            x = layer(self.up, "conv0")(x, w[:, 0], noise.of("conv0"))
        if modulation is not None:
            x = channel_split_sft(x, modulation)
        x = layer(1, "conv1")(x, w[:, -2], noise.of("conv1"))
        y = ToRGB(self.image_channels, self.clamp, name="torgb")(x, w[:, -1])
        if image is None:
            return BlockOutput(x, y)
        return BlockOutput(x, y + (upsample2d(image) if self.up == 2 else image))

    def _start(self, w: Float[Array, "b n d"]) -> Float[Array, "b r r c"]:
        shape = (self.resolution, self.resolution, self.features)
        const = self.param("const", nn.initializers.normal(1.0), shape)
        return jnp.broadcast_to(const.astype(self.compute)[None], (w.shape[0], *shape))
