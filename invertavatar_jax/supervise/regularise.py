"""What keeps a volume smooth while only pictures of it are judged."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def density_steps(
    density: Callable[[Float[Array, "b p 3"]], Float[Array, "b p 1"]],
    key: jax.Array,
    batch: int,
    points: int,
    spread: float,
) -> Float[Array, ""]:
    """Mean absolute change of the density over short random steps.

    The steps start evenly spread over the cube [-1, 1]^3. The released box of the planes
    is the inner eighth of it: outside planes read as zeros.

    Args:
        density: of world points, before its softplus.
        points: steps in each volume.
        spread: standard deviation of a step's coordinates, world units.

    Source: TRAINING A ("density reg").
    """
    key_start, key_step = jax.random.split(key)
    start = jax.random.uniform(key_start, (batch, points, 3), minval=-1.0, maxval=1.0)
    step = spread * jax.random.normal(key_step, start.shape)
    values = density(jnp.concatenate([start, start + step], 1))
    return jnp.abs(values[:, :points] - values[:, points:]).mean()
