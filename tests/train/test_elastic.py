"""The same bits on any number of devices, and in two processes."""

import dataclasses
import pathlib

from experiments.determinism import child, elastic_test, faults
from experiments.determinism.elastic_test import Way
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.train.config import MeshShape

TOY = "tests/train/toy.py"


def test_two_processes_and_a_move_to_two_devices_end_like_one_device(toy_shards, tmp_path):
    ways = [(Way(1),), (Way(8, 2), Way(2))]
    found = elastic_test.test(TOY, 4, tmp_path, str(toy_shards), ways, ordinary=())
    assert found["equal"], found


def test_a_stop_of_one_process_stops_all_at_the_same_step(toy_shards, tmp_path: pathlib.Path):
    training = dataclasses.replace(
        read_config(TOY), data=str(toy_shards), total_steps=100_000, mesh=MeshShape(8, 1)
    )
    run = tmp_path / "run"
    processes = elastic_test.start(child.write_config(training, tmp_path), Way(8, 2), run)
    faults.wait_for(faults.Moment(3, 0.0), run, processes[0], 0)
    processes[1].process.terminate()
    first, second = (process.join() for process in processes)
    assert (first.code, second.code) == (0, 0), first.output + second.output
    assert "run the same command again" in second.output
    assert faults.committed(run)[-1] == faults.last_logged(run) > 2
