"""Bilinear look-up of an image at any positions."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def grid_sample(
    image: Float[Array, "b h w c"], grid: Float[Array, "b *p 2"]
) -> Float[Array, "b *p c"]:
    """Samples images bilinearly; zeros outside.

    Differentiable in both arguments; constant, so with zero gradient, outside.

    Args:
        grid: (x, y) in [-1, 1]; -1 and 1 are the outer edges of the outer pixels, y grows
            with the row (align_corners=False).

    Source: SPEC section 2.
    """
    b, h, w, c = image.shape
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))  # zeros in place of masks
    table = padded.reshape(b * (h + 2) * (w + 2), c)
    x, y = (
        jnp.clip((grid[..., i] + 1) * (size / 2) + 0.5, 0, size + 1)
        for i, size in enumerate((w, h))
    )
    column, row = jnp.minimum(jnp.floor(x), w), jnp.minimum(jnp.floor(y), h)
    right, below = (x - column)[..., None], (y - row)[..., None]
    sample = jnp.arange(b).reshape((b,) + (1,) * (grid.ndim - 2))
    index = (sample * (h + 2) + row.astype(jnp.int32)) * (w + 2) + column.astype(jnp.int32)
    pick = lambda offset: table.at[index + offset].get(mode="promise_in_bounds")
    upper = pick(0) * (1 - right) + pick(1) * right
    lower = pick(w + 2) * (1 - right) + pick(w + 3) * right
    return (upper * (1 - below) + lower * below).astype(image.dtype)
