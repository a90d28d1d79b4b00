"""Training runs, stops and goes on as if it had not stopped."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from invertavatar_jax.compile import abstract
from invertavatar_jax.errors import UserError
from invertavatar_jax.train import config, loop
from invertavatar_jax.train.program import Program
from tests.train import toy


def _equal(left, right) -> bool:
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), left, right)
    return all(jax.tree.leaves(same))


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(toy_shards, tmp_path):
    training = config.parse(toy.get_config())
    training = dataclasses.replace(training, data=str(toy_shards))
    program = Program(training)
    run = functools.partial(loop.train, training, progress=False, program=program)
    whole = run(tmp_path / "whole")
    run(tmp_path / "stopped", minutes=0.0)  # one step, then out of time
    again = run(tmp_path / "stopped")
    assert program.compiled() == {"paint": 1, "judge": 1}  # nor does a restored state compile
    assert int(again.step) == training.total_steps
    assert _equal(whole, again)
    _check_the_log(tmp_path / "whole", training.total_steps)


def test_the_supervised_stage_can_be_traced(training, program):
    """Compiling it takes minutes: see the test marked slow."""
    batch = abstract.training_batch(training, program.model)
    key = jax.eval_shape(jax.random.key, 0)
    (phase,) = program.stage.phases(None)
    step = program.step(phase, None)
    sums, _ = jax.eval_shape(step.differentiate, program.shapes, batch, key)
    new, metrics = jax.eval_shape(step.update, step.moving(program.shapes, sums), sums)
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert shapes(new.params) == shapes(program.shapes.params["all"])
    assert {"main/loss", "main/psnr_head", "main/grad_norm"} <= set(metrics)


@pytest.mark.slow
def test_the_supervised_stage_moves_every_network(training, program, tmp_path):
    state = loop.train(training, tmp_path, progress=False, program=program)
    _check_every_network_moved(state)
    _check_the_log(tmp_path, training.total_steps)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert any("held_out/psnr_head" in row for row in rows)


def _check_every_network_moved(state) -> None:
    difference = lambda a, b: float(abs(a - b).max())
    moved = jax.tree.map(difference, state.params["all"], state.average["all"])
    networks = moved["generator"] | moved["unet_encoder"] | {"encoder": moved["encoder"]}
    for name, tree in networks.items():
        assert max(jax.tree.leaves(tree)) > 0, name


def _check_the_log(folder, steps: int) -> None:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    lines = [row for row in rows if "seconds_per_step" in row or "first_step_seconds" in row]
    assert sum(row["steps"] for row in lines) == steps
    assert [row["step"] for row in lines] == sorted({row["step"] for row in lines})


def test_missing_data_is_one_sentence(training, tmp_path):
    with pytest.raises(UserError, match="found none"):
        loop.train(dataclasses.replace(training, data=str(tmp_path)), tmp_path / "out")
