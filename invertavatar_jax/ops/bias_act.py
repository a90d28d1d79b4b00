"""Bias, activation, gain and clamp in one elementwise pass."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class _Activation(NamedTuple):
    function: Callable
    gain: float  # keeps the variance of a normal input near 1


_ACTIVATIONS = {
    "linear": _Activation(lambda x: x, 1.0),
    "relu": _Activation(jax.nn.relu, float(np.sqrt(2))),
    "lrelu": _Activation(lambda x: jax.nn.leaky_relu(x, 0.2), float(np.sqrt(2))),
    "tanh": _Activation(jnp.tanh, 1.0),
    "sigmoid": _Activation(jax.nn.sigmoid, 1.0),
    "elu": _Activation(jax.nn.elu, 1.0),
    "selu": _Activation(jax.nn.selu, 1.0),
    "softplus": _Activation(jax.nn.softplus, 1.0),
    "swish": _Activation(jax.nn.swish, float(np.sqrt(2))),
}


def bias_act(
    x: Float[Array, "*b c"],
    bias: Float[Array, " c"] | None = None,
    activation: str = "linear",
    *,
    gain: float | None = None,
    clamp: float | None = None,
) -> Float[Array, "*b c"]:
    """Computes clamp(gain * activation(x + bias)) in the type of x.

    Args:
        gain: replaces the activation's own gain (sqrt 2 for relu, lrelu and swish, else 1).
        clamp: bound on the magnitude of the result, after the gain.

    Raises:
        ValueError: the activation is unknown.

    Source: SPEC section 2.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation {activation!r}: expected one of {sorted(_ACTIVATIONS)}")
    function, own_gain = _ACTIVATIONS[activation]
    if bias is not None:
        x = x + bias.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    y = function(x)
    factor = own_gain if gain is None else gain
    if factor != 1.0:
        y = y * factor
    return y if clamp is None else jnp.clip(y, -clamp, clamp)
