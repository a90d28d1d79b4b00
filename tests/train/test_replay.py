"""A stretch of a run again, and the weights of its checkpoints."""

import dataclasses
import json

import pytest

from invertavatar_jax.cli.main import main
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.train import checksum, loop, replay, runs
from invertavatar_jax.train.program import Program


@pytest.fixture(scope="module")
def run(toy_shards, tmp_path_factory):
    """A finished run's folder and its program."""
    folder = tmp_path_factory.mktemp("run")
    training = read_config("tests/train/toy.py")
    training = dataclasses.replace(training, data=str(toy_shards), total_steps=6, keep=2)
    program = Program(training)
    loop.train(training, folder, progress=False, program=program)
    return folder, program


def test_a_replayed_stretch_is_equal(run, capsys):
    assert main(["replay", str(run[0]), "--steps", "4:6", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["equal"] and said["from_step"] == 4 and said["compared"] == [5, 6]


def test_before_the_oldest_checkpoint_it_begins_at_the_beginning(run):
    folder, program = run
    found = replay.replay(folder, 1, 3, program=program)
    assert found == replay.Replayed(0, [1, 2, 3], None, [])


def test_a_difference_is_told_by_step_and_leaf(run, tmp_path):
    folder, program = run
    rows = (folder / checksum.FILE).read_text().splitlines()
    row = json.loads(rows[4])
    leaves = row["leaves"].split()
    names = checksum.names(program.shapes)
    wrong = names.index("params/painter/second")
    leaves[wrong] = "0" * 8
    rows[4] = json.dumps(row | {"checksum": "0" * 64, "leaves": " ".join(leaves)})
    for name in ("manifest.json", "checkpoints"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / checksum.FILE).write_text("\n".join(rows))
    found = replay.replay(tmp_path, 4, 6, program=program)
    assert found.differs_at == 5 and found.leaves == ["params/painter/second"]


def test_steps_that_the_run_has_not_noted_are_an_error(run):
    with pytest.raises(UserError, match="has noted no checksum from step 40 to 50"):
        replay.replay(run[0], 40, 50, program=run[1])


def test_weights_of_a_checkpoint_are_those_the_run_wrote(run, tmp_path):
    folder, _ = run
    assert runs.export_weights(folder, tmp_path / "newest.safetensors") == 6
    assert tensors.sha256(tmp_path / "newest.safetensors") == tensors.sha256(folder / loop.WEIGHTS)
    assert runs.export_weights(folder, tmp_path / "before.safetensors", step=4) == 4
    with pytest.raises(UserError, match="has no checkpoint of step 5: it has 4, 6"):
        runs.export_weights(folder, tmp_path / "none.safetensors", step=5)
