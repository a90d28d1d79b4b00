"""What a child process with eight devices finds out; see test_step."""

from typing import Any

import jax
import numpy as np

from invertavatar_jax.train import mesh, state, step
from invertavatar_jax.train.stage import Stage
from invertavatar_jax.train.stages.batching import Batching
from tests.train import toy

COPIED = ((r".*", ()),)
RULES = {
    "copied": ((8, 1), COPIED),
    "largest": ((8, 1), ((r".*", "largest"),)),
    "model": ((4, 2), ((r"first", ("model",)), (r"second", ("model", None)), *COPIED)),
}
MICROBATCHES = 8


def toy_stage() -> Stage:
    return toy.make(None, toy.Settings(1e-2), Batching(2 * MICROBATCHES, 2))


def iterate(placing: step.Placing, count: int = 2) -> tuple[state.TrainState, int]:
    """The toy stage's state after some iterations, and how often a phase was compiled."""
    stage = toy_stage()
    whole = state.make_state(stage, placing.microbatches, jax.random.key(0))
    whole = jax.device_put(whole, step.state_shardings(whole, placing))
    advance = step.make_advance(stage, placing, whole)
    phases = stage.phases(None)
    runs = [step.make_step(phase, stage.groups[phase.group], placing, whole) for phase in phases]
    rng = np.random.default_rng(0)
    for _ in range(count):
        photo = rng.integers(0, 256, (16, 8, 8, 3), np.uint8)
        batch = {"photo": jax.device_put(photo, step.batch_sharding(placing))}
        for run in runs:
            whole, _ = run(whole, batch, jax.random.key(1))
        whole = advance(whole)
    return whole, runs[0].differentiate._cache_size()


def compare() -> dict[str, Any]:
    """By rule: the largest difference from one device, where a parameter and its moment are."""
    one = step.Placing(mesh.make_mesh(1, 1), MICROBATCHES, False, COPIED)
    expected, found = jax.device_get(iterate(one)[0]), {}
    for name, (shape, rules) in RULES.items():
        placing = step.Placing(mesh.make_mesh(*shape), MICROBATCHES, False, rules)
        after, compiled = iterate(placing)
        apart = jax.tree.map(
            lambda a, b: float(np.abs(a - b).max()), jax.device_get(after), expected
        )
        painter = after.params["painter"], after.opt_state["painter"][0].mu
        found[name] = {
            "apart": max(jax.tree.leaves(apart)),
            "compiled": compiled,
            "specs": [str(tree["first"].sharding.spec) for tree in painter],
            "share": painter[0]["first"].addressable_data(0).size / painter[0]["first"].size,
        }
    return found
