"""Training runs, stops and goes on as if it had not stopped."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.train import loop


def _equal(left, right) -> bool:
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), left, right)
    return all(jax.tree.leaves(same))


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(training, program, whole, tmp_path):
    """And the uninterrupted run trained and logged; one test, since compiling takes minutes."""
    run = functools.partial(loop.train, training, tmp_path, progress=False, program=program)
    run(minutes=0.0)  # one step, then out of time
    again = run()
    assert program.compiled() == {"main": 1}  # nor does a restored state compile again
    assert int(again.step) == training.total_steps
    assert _equal(whole[0], again)
    _check_every_network_moved(whole[0])
    _check_the_log(whole[1])


def _check_every_network_moved(state) -> None:
    difference = lambda a, b: float(abs(a - b).max())
    moved = jax.tree.map(difference, state.params["all"], state.average["all"])
    networks = moved["generator"] | moved["unet_encoder"] | {"encoder": moved["encoder"]}
    for name, tree in networks.items():
        assert max(jax.tree.leaves(tree)) > 0, name


def _check_the_log(folder) -> None:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert any("held_out/psnr_head" in row for row in rows)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert [row["step"] for row in rows if "main/loss" in row] == [1, 2, 3, 4]


def test_missing_data_is_one_sentence(training, tmp_path):
    with pytest.raises(UserError, match="found none"):
        loop.train(dataclasses.replace(training, data=str(tmp_path)), tmp_path / "out")
