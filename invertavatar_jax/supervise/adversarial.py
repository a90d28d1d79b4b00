"""Losses of the two-player game between a generator and a discriminator."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def generator_loss(fake: Float[Array, "*b 1"]) -> Float[Array, ""]:
    """The non-saturating loss: softplus of minus the logits of made samples, mean."""
    return jax.nn.softplus(-fake).mean()


def discriminator_loss(real: Float[Array, "*b 1"], fake: Float[Array, "*b 1"]) -> Float[Array, ""]:
    """Softplus of the logits of made samples, and of minus those of real ones; means added."""
    return jax.nn.softplus(fake).mean() + jax.nn.softplus(-real).mean()


class Penalty(NamedTuple):
    """The gradient penalty at real samples, and what it was computed from."""

    penalty: Float[Array, " b"]  # squared norms, without gamma / 2
    gradients: PyTree[Float[Array, "b ..."]]  # of the logits by the samples
    logits: Float[Array, "b 1"]


def gradient_penalty(
    judge: Callable[..., Float[Array, "b 1"]], samples: PyTree[Float[Array, "b ..."]]
) -> Penalty:
    """Squared norm of the logits' gradient, added over all parts of the samples (R1).

    The logits are summed over the batch before the gradient, as in the released training:
    where samples see each other (minibatch standard deviation), so do their gradients.

    Source: paper A.1.1; TRAINING A ("R1", on the picture and on the neural image).
    """

    def total(samples):
        logits = judge(samples)
        return logits.sum(), logits

    gradients, logits = jax.grad(total, has_aux=True)(samples)
    squared = [
        jnp.square(leaf).reshape(leaf.shape[0], -1).sum(-1) for leaf in jax.tree.leaves(gradients)
    ]
    return Penalty(sum(squared[1:], squared[0]), gradients, logits)
