"""Convolution whose weights are scaled per sample: StyleGAN2's modulation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.ops.resample import conv2d_up
from invertavatar_jax.ops.row_blocks import operand_type

_EPSILON = 1e-8  # the released models'; keeps rsqrt finite


def modulated_conv(
    x: Float[Array, "b h w i"],
    weight: Float[Array, "k k i o"],
    style: Float[Array, "b i"],
    *,
    up: int = 1,
    demodulate: bool = True,
) -> Float[Array, "b p q o"]:
    """Convolves sample n with weight * style[n], by default scaled to unit norm.

    Of a bfloat16 image products are in bfloat16, and all else and the result in float32.

    Args:
        up: 1 keeps the resolution, 2 doubles it.
        demodulate: divide each output channel by the norm of its scaled weights.

    Source: SPEC section 2.
    Deviation: activations are scaled before and after one shared convolution. Weights per
        sample (a grouped convolution) give the same numbers, 12 times slower on XLA:CPU.
        A 1 x 1 kernel is one matrix product per sample.
    """
    kernel, wide = weight.shape[0], jnp.promote_types(x.dtype, jnp.float32)
    if kernel == 1 and up == 1:
        per_sample = weight[0] * style[:, :, None].astype(weight.dtype)
        pixels = x.reshape(x.shape[0], -1, x.shape[-1])
        y = jnp.matmul(pixels, per_sample.astype(x.dtype), preferred_element_type=wide)
        y = y.reshape(*x.shape[:-1], -1)
    else:
        kind = operand_type(x)
        scaled = (x.astype(wide) * style[:, None, None, :].astype(wide)).astype(kind)
        narrow = weight.astype(kind)
        y = conv2d_up(scaled, narrow) if up == 2 else conv2d(scaled, narrow, 1, kernel // 2)
        y = jnp.astype(y, wide)
    if not demodulate:
        return y
    # tap by tap: XLA:CPU takes 30 times longer for a sum over the leading axes
    energy = sum(jnp.square(weight[i, j]) for i in range(kernel) for j in range(kernel))
    energy = jnp.square(style.astype(jnp.float32)) @ energy
    return y * jax.lax.rsqrt(energy + _EPSILON)[:, None, None, :].astype(wide)


def channel_split_sft(
    x: Float[Array, "b h w c"], condition: Float[Array, "2 b h w c//2"]
) -> Float[Array, "b h w c"]:
    """Leaves the first half of the channels, maps the second to x * scale + shift.

    Source: paper 3.2 (CS-SFT); SPEC section 4.
    """
    kept, changed = jnp.split(x, 2, axis=-1)
    scale, shift = condition.astype(x.dtype)
    return jnp.concatenate([kept, changed * scale + shift], -1)
