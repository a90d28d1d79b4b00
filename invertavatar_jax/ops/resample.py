"""Convolution together with a change of resolution by two, without aliasing."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.ops import row_blocks, upfirdn
from invertavatar_jax.ops.conv import conv2d

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_LARGE = 128 * 128  # pixels from which row blocks are faster on a CPU in float32


@jax.custom_vjp
def spread2d(
    x: Float[Array, "b h w i"], weight: Float[Array, "3 3 i o"]
) -> Float[Array, "b 2*h+1 2*w+1 o"]:
    """Adds x[u, v] * weight[k, l] to pixel (2u + k, 2v + l): a transposed convolution.

    Deviation: a gradient of our own. XLA:CPU takes 30 times longer for the one that
    autodiff makes of a dilated convolution.
    """
    return lax.conv_general_dilated(
        x,
        jnp.flip(weight, (0, 1)),
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=_DIMENSIONS,
    )


def _forward_rule(x, weight):
    return spread2d(x, weight), (x, weight)


def _backward_rule(saved, grad):
    x, weight = saved
    height, width = x.shape[1:3]
    grad_x = conv2d(grad, weight.swapaxes(2, 3), 2, 0)
    taps = [
        lax.dot_general(
            x,
            grad[:, k : k + 2 * height : 2, j : j + 2 * width : 2],
            (((0, 1, 2), (0, 1, 2)), ((), ())),
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )
        for k in range(3)
        for j in range(3)
    ]
    return grad_x, jnp.stack(taps).reshape(weight.shape).astype(weight.dtype)


spread2d.defvjp(_forward_rule, _backward_rule)


def _spread_and_filter(x, weight):
    spread = spread2d(x, weight)
    return upfirdn.upfirdn2d(spread, upfirdn.BINOMIAL, padding=(1, 1, 1, 1), gain=4.0)


@jax.custom_vjp
def _double(x, weight):
    """The form of the platform and the size; gradients are those of _spread_and_filter."""
    if row_blocks.pays(x) or x.shape[1] * x.shape[2] >= _LARGE:
        return lax.platform_dependent(x, weight, cpu=row_blocks.double, default=_spread_and_filter)
    return _spread_and_filter(x, weight)


def _double_forward(x, weight):
    return _double(x, weight), (x, weight)


def _double_backward(saved, grad):
    return jax.vjp(_spread_and_filter, *saved)[1](grad)


_double.defvjp(_double_forward, _double_backward)


def conv2d_up(
    x: Float[Array, "b h w i"], weight: Float[Array, "k k i o"]
) -> Float[Array, "b 2*h 2*w o"]:
    """Doubles the resolution and convolves (kernel 1 or 3).

    A 3 x 3 weight is not flipped, which makes this a true convolution, where the other
    layers correlate. SPEC section 2.
    """
    if weight.shape[0] == 1:
        return upfirdn.upsample2d(conv2d(x, weight, 1, 0))
    return _double(x, weight)


def conv2d_down(
    x: Float[Array, "b h w i"], weight: Float[Array, "k k i o"]
) -> Float[Array, "b h//2 w//2 o"]:
    """Correlates (kernel 1 or 3) and halves the resolution. SPEC section 2."""
    if weight.shape[0] == 1:
        return conv2d(upfirdn.downsample2d(x), weight, 1, 0)
    smooth = upfirdn.upfirdn2d(x, upfirdn.BINOMIAL, padding=(2, 2, 2, 2))
    return conv2d(smooth, weight, 2, 0)
