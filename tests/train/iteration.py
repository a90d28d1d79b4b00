"""One iteration of an encoder stage at the smallest size, from drawn weights."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from invertavatar_jax import networks
from invertavatar_jax.train import config, mesh, state, step
from invertavatar_jax.train.stage import Stage
from tests.encode.weights import draw
from tests.train import batches


class Iteration(NamedTuple):
    """States before and after some phases, and the metrics of these."""

    stage: Stage
    before: state.TrainState
    after: state.TrainState
    metrics: dict[str, Any]

    def moved(self, group: str) -> float:
        """The share of a group's arrays that changed."""
        old, new = (jax.tree.leaves(s.params[group]) for s in (self.before, self.after))
        return float(np.mean([(a != b).any() for a, b in zip(old, new, strict=True)]))


def run(values: Any, phases: tuple[str, ...]) -> Iteration:
    """Runs the phases whose names begin so, each on the same batch."""
    training = config.parse(values)
    stage = config.stage_module(training.stage).make(
        batches.MODEL, training.settings, training.batching
    )
    count = training.batch_size // training.microbatch
    weights = draw(functools.partial(networks.init, batches.MODEL))
    before = state.make_state(stage, count, jax.random.key(0), weights)
    placing = step.Placing(mesh.make_mesh(1, 1), count, False, training.sharding)
    after, metrics = jax.device_put(jax.device_get(before)), {}
    for phase in stage.phases(True):
        if phase.name.startswith(phases):
            compiled = step.make_step(phase, stage.groups[phase.group], placing, after)
            batch = batches.draw(training.batch_size, training.frames)
            after, found = compiled(after, batch, jax.random.key(1))
            metrics |= jax.device_get(found)
    return Iteration(stage, before, after, metrics)
