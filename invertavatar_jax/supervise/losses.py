"""Reconstruction losses on images in [-1, 1]."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.ops.resize import resize_antialias


def weighted_l1(
    image: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    weight: Float[Array, "b h w 1"],
) -> Float[Array, ""]:
    """Mean of the absolute error times weight; divided by the weight's mean."""
    return (jnp.abs(image - target) * weight).mean() / weight.mean()


def _differences(x: Float[Array, "b h w c"]) -> tuple[Array, Array]:
    return x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]


def gradient_l1(
    image: Float[Array, "b h w c"], target: Float[Array, "b h w c"], scales: int = 3
) -> Float[Array, ""]:
    """L1 between image gradients at `scales` sizes, each half the one before.

    The multi-scale term that stands beside L1 where no perceptual weights are at hand. Sizes
    below two pixels have no gradient and are left out.
    """
    scales = max(1, min(scales, min(image.shape[1:3]).bit_length() - 1))
    total = jnp.zeros(())
    for scale in range(scales):
        for got, wanted in zip(_differences(image), _differences(target), strict=True):
            total = total + jnp.abs(got - wanted).mean()
        if scale + 1 < scales:
            half = (image.shape[1] // 2, image.shape[2] // 2)
            image, target = resize_antialias(image, half), resize_antialias(target, half)
    return total / scales
