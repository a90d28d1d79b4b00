"""An iteration means the same however its microbatches are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.determinism import child
from invertavatar_jax.train import mesh, state, step
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Phase, Stage, Start
from tests.train import sharded


def _placing(microbatches: int, *, deterministic: bool = False) -> step.Placing:
    return step.Placing(mesh.make_mesh(1, 1), microbatches, deterministic, sharded.COPIED)


def _apart(left, right) -> float:
    difference = lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max())
    return max(jax.tree.leaves(jax.tree.map(difference, left, right)))


def test_deterministic_and_ordinary_agree():
    ordinary = sharded.iterate(_placing(sharded.MICROBATCHES))[0]
    exact = sharded.iterate(_placing(sharded.MICROBATCHES, deterministic=True))[0]
    assert _apart(ordinary, exact) < 1e-6


def _squares(inputs: Inputs) -> Outcome:
    error = inputs.batch["x"] @ inputs.params["net"]["weight"] - 1.0
    mean = {"mean": inputs.batch["x"].mean(0)}
    return Outcome(jnp.square(error).mean(), {}, mean)


def _one_phase() -> Stage:
    begin = lambda key, weights: Start({"net": {"weight": jnp.ones(4)}}, {"mean": jnp.zeros(4)})
    unused = lambda *_: {}
    return Stage(
        "squares",
        {"net": Group(optax.adam(0.1))},
        lambda _: (Phase("main", "net", _squares),),
        begin,
        unused,
        unused,
        unused,
    )


def _step_once(microbatches: int, x, **options) -> tuple[state.TrainState, state.TrainState, dict]:
    stage, placing = _one_phase(), _placing(microbatches, **options)
    before = state.make_state(stage, microbatches, jax.random.key(0))
    copy = jax.tree.map(np.array, before)
    run = step.make_step(stage.phases(None)[0], stage.groups["net"], placing, before)
    return copy, *run(before, {"x": x}, jax.random.key(0))


def test_gradients_of_microbatches_are_averaged():
    x = jax.random.normal(jax.random.key(0), (8, 4))
    _, whole, metrics = _step_once(1, x)
    _, parts, same = _step_once(4, x)
    assert _apart(whole.params, parts.params) < 1e-6
    assert _apart(whole.opt_state, parts.opt_state) < 1e-6
    assert _apart(whole.buffers, parts.buffers) < 1e-6
    assert _apart(metrics, same) < 1e-6


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_gradient_that_is_not_finite_moves_nothing(deterministic):
    x = jnp.ones((8, 4)).at[5, 2].set(jnp.inf)
    before, after, metrics = _step_once(4, x, deterministic=deterministic)
    assert not np.isfinite(metrics["main/grad_norm"])
    moved = before.params, before.opt_state, before.buffers
    assert _apart(moved, (after.params, after.opt_state, after.buffers)) == 0


@pytest.fixture(scope="module")
def found():
    """Of a process with eight devices."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    ended = child.Child(sharded.compare, environment=flags).join()
    assert ended.answer is not None, ended.output
    return ended.answer


@pytest.mark.parametrize("rule", sharded.RULES)
def test_sharded_steps_equal_those_of_one_device(rule, found):
    assert found[rule]["apart"] < 1e-6
    assert found[rule]["compiled"] == 1
    parameter, moment = found[rule]["specs"]
    assert parameter == moment
    assert found[rule]["share"] == {"copied": 1.0, "largest": 1 / 8, "model": 1 / 2}[rule]
