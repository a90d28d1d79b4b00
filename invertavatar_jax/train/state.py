"""Everything that a training run is: saved and restored as one tree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from invertavatar_jax.pure import Weights
from invertavatar_jax.train.stage import Stage


class TrainState(NamedTuple):
    """Parameters by group, their running averages, the rest of the networks, optimizers."""

    step: Int[Array, ""]  # iterations done
    params: dict[str, Any]
    average: dict[str, Any]  # of the groups that have one
    buffers: dict[str, Any]
    opt_state: dict[str, Any]  # by group
    slots: Any  # of every microbatch's place, stacked


def make_state(
    stage: Stage, microbatches: int, key: jax.Array, weights: Weights | None = None
) -> TrainState:
    """The state before the first iteration.

    Args:
        microbatches: in a global batch.
        weights: to begin with, as the stage says; None for random ones.
    """
    begin = stage.start(key, weights)
    # arrays of its own, each once: steps use them up
    params, buffers = (jax.tree.map(jnp.array, tree) for tree in (begin.params, begin.buffers))
    averaged = [name for name, group in stage.groups.items() if group.average is not None]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average={name: jax.tree.map(jnp.copy, params[name]) for name in averaged},
        buffers=buffers,
        opt_state={
            name: group.optimizer.init(params[name]) for name, group in stage.groups.items()
        },
        slots=jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * microbatches), begin.slot),
    )


def shipped(stage: Stage, state: TrainState) -> Weights:
    """The weights that users load: averages where there are, the rest as it is."""
    return stage.ship(state.params, state.average, state.buffers)
