"""Plain 2-D convolution (correlation), with a gradient that stays fast inside lax.scan."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.ops import row_blocks

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_CACHED_PIXELS = 4096


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(
    x: Float[Array, "b h w i"], weight: Float[Array, "k k i o"], stride: int, padding: int
) -> Float[Array, "b p q o"]:
    """Correlates x with weight; zero padding on all sides.

    Deviation: a gradient of our own. XLA:CPU computes autodiff's gradient of the weight 30
    to 100 times slower inside `lax.scan` than outside, unless the operands are transposed
    beforehand. In bfloat16 sums are in float32, and the result is rounded.
    """
    plain = functools.partial(
        lax.conv_general_dilated,
        window_strides=(stride, stride),
        padding=((padding, padding),) * 2,
        dimension_numbers=_DIMENSIONS,
    )
    if not row_blocks.pays(x):
        return plain(x, weight)
    blocks = functools.partial(row_blocks.correlate, stride=stride, padding=padding)
    return lax.platform_dependent(x, weight, cpu=blocks, default=plain)


def _forward_rule(x, weight, stride, padding):
    return conv2d(x, weight, stride, padding), (x, weight)  # itself: for second derivatives


def _backward_rule(stride, padding, saved, grad):
    x, weight = saved
    grad_x = _image_gradient(grad, weight, stride, padding, x.shape[1:3])
    return grad_x, _weight_gradient(x, grad, weight.shape[0], stride, padding)


# The convolution and its two gradients are bilinear, and the gradients of each are the other
# two: so second derivatives (gradient penalties) stay fast as well.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _image_gradient(grad, weight, stride, padding, size):
    """Spreads grad over an image of `size` rows and columns."""
    k = weight.shape[0]
    extra = [
        (side + 2 * padding - k) % stride for side in size
    ]  # rows and columns that the stride never reached
    pads = [(k - 1 - padding, k - 1 - padding + rest) for rest in extra]
    flipped = jnp.flip(weight, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(
        grad, flipped, (1, 1), pads, lhs_dilation=(stride, stride), dimension_numbers=_DIMENSIONS
    )


def _image_gradient_forward(grad, weight, stride, padding, size):
    return _image_gradient(grad, weight, stride, padding, size), (grad, weight)


def _image_gradient_backward(stride, padding, size, saved, x):
    grad, weight = saved
    by_weight = _weight_gradient(x, grad, weight.shape[0], stride, padding)
    return conv2d(x, weight, stride, padding), by_weight


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _weight_gradient(x, grad, k, stride, padding):
    """Correlates x with grad, pixels of grad being the taps. Returns HWIO."""
    if k == 1 and padding == 0:
        return lax.dot_general(x[:, ::stride, ::stride], grad, (((0, 1, 2), (0, 1, 2)), ((), ())))[
            None, None
        ]

    def correlate(x, grad, dimensions):
        return lax.conv_general_dilated(
            x,
            grad,
            (1, 1),
            ((padding, padding),) * 2,
            rhs_dilation=(stride, stride),
            dimension_numbers=dimensions,
        )

    def transposed(x, grad):
        pieces = [
            correlate(some.transpose(3, 1, 2, 0), of.transpose(1, 2, 0, 3), _DIMENSIONS)
            for some, of in _pieces(x, grad)
        ]
        return functools.reduce(jnp.add, pieces).transpose(1, 2, 0, 3)

    # Other platforms' compilers know the gradient by its order of dimensions.
    in_place = lambda x, grad: correlate(x, grad, ("CHWN", "IHWO", "HWNC"))
    taps = lax.platform_dependent(x, grad, cpu=transposed, default=in_place)
    return taps[:k, :k]  # rows and columns that the stride never reached give more


def _weight_gradient_forward(x, grad, k, stride, padding):
    return _weight_gradient(x, grad, k, stride, padding), (x, grad)


def _weight_gradient_backward(k, stride, padding, saved, weight):
    x, grad = saved
    by_x = _image_gradient(grad, weight, stride, padding, x.shape[1:3])
    return by_x, conv2d(x, weight, stride, padding)


def _pieces(x, grad):
    """Splits the batch so that a piece stays in a core's cache: half the time, measured.

    Gradients of few channels fit as they are, and are slower in pieces.
    """
    samples, rows, columns, channels = grad.shape
    count = max(1, _CACHED_PIXELS // (rows * columns)) if channels >= 32 else samples
    for i in range(0, samples, count):
        yield x[i : i + count], grad[i : i + count]


conv2d.defvjp(_forward_rule, _backward_rule)
_image_gradient.defvjp(_image_gradient_forward, _image_gradient_backward)
_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)
