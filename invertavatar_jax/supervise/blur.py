"""A Gaussian blur whose width is a value of the program: one program for a whole fade."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def blur(x: Float[Array, "*b h w c"], sigma: Float[Array, ""]) -> Float[Array, "*b h w c"]:
    """Weighs neighbours by 2^-(distance / sigma)^2, up to floor(3 sigma) pixels away.

    Beyond the edge there are zeros. Below a sigma of 1/3 the image stays as it is.

    Args:
        sigma: in pixels, below 2/3 of the shorter side.

    Source: TRAINING A ("blur").
    """
    rows, columns = (_weights(size, sigma) for size in x.shape[-3:-1])
    exact = jax.lax.Precision.HIGHEST
    x = jnp.einsum("ph,...hwc->...pwc", rows, x, precision=exact)
    return jnp.einsum("qw,...pwc->...pqc", columns, x, precision=exact)


def _weights(size: int, sigma: Float[Array, ""]) -> Float[Array, "n n"]:
    """Row i holds the weights of all pixels in pixel i of the result."""
    radius, width = jnp.floor(3 * sigma), jnp.maximum(sigma, 1e-3)

    def weigh(distance):
        near = (jnp.abs(distance) <= radius).astype(jnp.float32)
        return near * jnp.exp2(-jnp.square(distance / width))

    total = weigh(jnp.arange(-2 * size, 2 * size + 1, dtype=jnp.float32)).sum()
    pixels = jnp.arange(size, dtype=jnp.float32)
    return weigh(pixels[:, None] - pixels) / total
