"""Features of a point -> its colour and density."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from invertavatar_jax.layers import Linear
from invertavatar_jax.render.composite import softplus

# Colours reach a little beyond [0, 1], so that black and white need no infinite logits.
COLOUR_MARGIN = 0.001


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
        x = softplus(Linear(self.hidden, name="net_0")(features))
        x = Linear(1 + self.channels, name="net_2")(x)
        colour = jax.nn.sigmoid(x[..., 1:]) * (1 + 2 * COLOUR_MARGIN) - COLOUR_MARGIN
        return colour, x[..., :1]
