"""softplus and sigmoid of very many numbers: most of what a volume's decoder computes.

XLA:CPU computes exp and log one after the other, each good for any number. Here the exponent is
never positive and the logarithm is of a number in [1, 2], which takes a third of the time.
Accelerators have instructions for both and use them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Chebyshev interpolants: 2^f for |f| <= 1/2, to 1e-7 relative; log(1 + e) / e for 0 <= e <= 1,
# to 2e-8 absolute. Lowest degree first.
EXP2 = (1.00000008, 0.693147188, 0.240221075, 0.0555035711, 0.00967603192, 0.00133908634)
LOG1P = (
    0.999999966,
    -0.49999445,
    0.333181217,
    -0.24835399,
    0.190768807,
    -0.136022476,
    0.0775160866,
    -0.0290740646,
    0.00512610212,
)
LOG2_E = 1.44269504
# Added to a small float32, leaves its nearest integer in the low bits; and its own bits.
ROUND, ROUND_BITS = 1.5 * 2.0**23, 0x4B400000
LEAST = -126.0  # the exponent of float32's smallest normal number


@jax.custom_jvp
def softplus(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """log(1 + exp(x)) to an absolute error of 2e-7, relative 1e-6 above zero.

    jax.nn.softplus is exact far below zero too, which nothing here needs, and takes four times
    as long on a CPU. The gradient is the sigmoid, one half at zero.
    """
    through = lambda log1p, exp: jnp.maximum(x, 0.0) + log1p(exp(-jnp.abs(x)))
    return jax.lax.platform_dependent(
        cpu=lambda: through(_log1p, _exp), default=lambda: through(jnp.log1p, jnp.exp)
    )


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    return softplus(x), tangent * sigmoid(x)


@jax.custom_jvp
def sigmoid(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """1 / (1 + exp(-x)) to an absolute error of 2e-7, relative 5e-6."""

    def on_cpu():
        small = _exp(-jnp.abs(x))
        return jnp.where(x < 0, small, 1.0) / (1.0 + small)

    return jax.lax.platform_dependent(cpu=on_cpu, default=lambda: jax.nn.sigmoid(x))


@sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    value = sigmoid(x)
    return value, tangent * value * (1.0 - value)


def _exp(x):
    """exp of numbers that are not positive; at least 2^-126."""
    power = jnp.maximum(x * LOG2_E, LEAST)
    # through its bits: XLA would simplify (power + ROUND) - ROUND to power
    whole = jax.lax.bitcast_convert_type(power + ROUND, jnp.int32) - ROUND_BITS
    fraction = power - whole.astype(jnp.float32)
    exponent = (whole + 127) << 23  # as float32 holds it
    scale = jax.lax.bitcast_convert_type(exponent, jnp.float32)
    return _polynomial(EXP2, fraction) * scale


def _log1p(x):
    """log(1 + x) for x in [0, 1]."""
    return x * _polynomial(LOG1P, x)


def _polynomial(coefficients, x):
    *rest, value = coefficients
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value
