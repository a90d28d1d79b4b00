"""Everything that a training run is: saved and restored as one tree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from invertavatar_jax.pure import Weights


class TrainState(NamedTuple):
    """Parameters, their running average, constants and the optimizer's state."""

    step: Int[Array, ""]
    params: Any
    average: Any  # exponential moving average of params; what is shipped
    buffers: Any
    opt_state: Any


def make_state(weights: Weights, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    params = jax.tree.map(jnp.asarray, weights["params"])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average=jax.tree.map(jnp.copy, params),
        buffers=jax.tree.map(jnp.asarray, weights["buffers"]),
        opt_state=optimizer.init(params),
    )


def shipped(state: TrainState) -> Weights:
    """The averaged weights, as the networks take them."""
    return {"params": state.average, "buffers": state.buffers}
