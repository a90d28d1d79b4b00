"""Runs that are killed, stopped, out of disk or damaged end as if nothing had happened."""

import json

import pytest

from experiments.determinism import kill_test

TOY = "tests/train/toy.py"


def test_a_run_survives_ten_faults(toy_shards):
    found = kill_test.test([TOY], 10, seed=4, data=str(toy_shards))
    assert len(found["kills"]) == 10
    assert found["ok"], json.dumps([row for row in found["kills"] if not row["ok"]], indent=1)


@pytest.mark.slow
def test_runs_survive_a_hundred_faults(toy_shards):
    found = kill_test.test([TOY, f"{TOY}:deterministic"], 100, data=str(toy_shards))
    assert len(found["kills"]) == 100
    assert found["ok"], json.dumps([row for row in found["kills"] if not row["ok"]], indent=1)
