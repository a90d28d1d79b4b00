"""Features of a point -> its colour and density."""

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.render.blocks import map_points
from invertavatar_jax.render.exponential import sigmoid, softplus

# Colours reach a little beyond [0, 1], so that black and white need no infinite logits.
COLOUR_MARGIN = 0.001


class _Linear(nn.Module):
    """The weight and bias of layers.Linear, scaled as it uses them, for a function to use."""

    features: int

    @nn.compact
    def __call__(self, fan_in: int) -> tuple[Float[Array, "i o"], Float[Array, " o"]]:
        weight = self.param("weight", nn.initializers.normal(1.0), (fan_in, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return weight * (1.0 / np.sqrt(fan_in)).astype(np.float32), bias


class OSGDecoder(nn.Module):
    """Two linear layers shared by all points.

    Returns colours (the first three channels are RGB) in about [0, 1], and density as
    `composite.interval_weights` reads it. Names are the released checkpoint's.

    Source: SPEC section 6.
    """

    hidden: int
    channels: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "*n f"]
    ) -> tuple[Float[Array, "*n c"], Float[Array, "*n 1"]]:
        first, first_bias = _Linear(self.hidden, name="net_0")(features.shape[-1])
        second, second_bias = _Linear(1 + self.channels, name="net_2")(self.hidden)

        def decode(x):
            x = softplus(x @ first + first_bias)
            # two products: density alone lies in one piece, which a CPU marches along faster
            density = x @ second[:, 0] + second_bias[0]
            colour = sigmoid(x @ second[:, 1:] + second_bias[1:])
            return colour * (1 + 2 * COLOUR_MARGIN) - COLOUR_MARGIN, density[:, None]

        decoded = map_points(decode, features.reshape(-1, features.shape[-1]))
        return jax.tree.map(lambda x: x.reshape(*features.shape[:-1], -1), decoded)
