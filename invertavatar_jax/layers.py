"""Flax layers shared by the stages.

Leaves carry the names of the released checkpoints (weight, bias, running_mean, ...), and
submodules too, with list positions joined by an underscore (`body.3.fc1` is `body_3/fc1`),
so that one rule converts every network (convert/names.py). Layout: convolution weights
HWIO, linear weights (in, out).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.ops import conv


class Conv(nn.Module):
    """A plain convolution with padding kernel // 2, as torch.nn.Conv2d computes it."""

    features: int
    kernel: int = 3
    stride: int = 1
    bias: bool = True
    weight_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "*b h w i"]) -> Float[Array, "*b p q o"]:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        weight = self.param("weight", self.weight_init, shape)
        y = conv.conv2d(x, weight.astype(x.dtype), self.stride, self.kernel // 2)
        if not self.bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,))
        return y + bias.astype(x.dtype)


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
        from invertavatar_jax.ops.bias_act import bias_act

        fan_in = x.shape[-1]
        init = nn.initializers.normal(1.0 / self.lr_multiplier)
        weight = self.param("weight", init, (fan_in, self.features))
        start = nn.initializers.constant(self.bias_init / self.lr_multiplier)
        bias = self.param("bias", start, (self.features,))
        weight = (weight * (self.lr_multiplier / np.sqrt(fan_in))).astype(x.dtype)
        return bias_act(x @ weight, bias * self.lr_multiplier, self.activation)


class BatchNorm(nn.Module):
    """Batch normalisation with explicit statistics: stored ones, or those of the batch.

    Statistics of the batch are the released evaluation's mode (SPEC section 9.6); they are
    taken over all axes but the last, with the biased variance.
    """

    batch_statistics: bool = False
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        channels = x.shape[-1:]
        weight = self.param("weight", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("buffers", "running_mean", jnp.zeros, channels).value
        var = self.variable("buffers", "running_var", jnp.ones, channels).value
        if self.batch_statistics:
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
        scale = weight * jax.lax.rsqrt(var + self.epsilon)
        return x * scale.astype(x.dtype) + (bias - mean * scale).astype(x.dtype)


class PReLU(nn.Module):
    """A leaky rectifier with one trained slope per channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        slope = self.param("weight", nn.initializers.constant(0.25), x.shape[-1:])
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)
