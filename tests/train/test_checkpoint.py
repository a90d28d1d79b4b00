"""Checkpoints: whole or not there, kept as asked, and read on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.train.checkpoint import Checkpoints
from invertavatar_jax.train.state import TrainState


def _state(step: int) -> TrainState:
    weight = {"weight": jnp.arange(64.0).reshape(8, 8) + step}
    moments = {"net": {"mu": weight, "count": jnp.int32(step)}}
    return TrainState(jnp.int32(step), {"net": weight}, {}, {}, moments, jnp.zeros((8, 2)))


def _save(folder, steps, *, scores=None, keep=2) -> None:
    with Checkpoints(folder, keep) as checkpoints:
        for step in steps:
            score = None if scores is None else scores[step]
            checkpoints.save(_state(step), {"next": step}, {"manifest": {}}, score)


def _restore(folder, **options):
    with Checkpoints(folder, **options) as checkpoints:
        return checkpoints.restore(jax.eval_shape(lambda: _state(0)))


def _equal(left, right) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, left, right)))


def test_the_newest_state_comes_back_with_its_position(tmp_path):
    _save(tmp_path / "checkpoints", [1, 2])
    found = _restore(tmp_path / "checkpoints")
    assert found is not None and _equal(found.state, _state(2))
    assert found.position == {"next": 2}


def test_the_newest_and_the_best_are_kept(tmp_path):
    _save(tmp_path, range(1, 6), scores={1: 0.0, 2: 9.0, 3: 1.0, 4: 2.0, 5: 3.0}, keep=2)
    with Checkpoints(tmp_path, look_only=True) as checkpoints:
        assert checkpoints.steps == [2, 4, 5]


def _files(folder, step):
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())


def _damage_numbers(folder):
    """Bits of the data in both places where they are looked for."""
    for path in _files(folder, 2):
        if path.parent.name == "d":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)


def _damage_position(folder):
    path = folder / "2" / "about" / "_strings.json"
    path.write_text(path.read_text().replace("next", "text"))


def _cut_everything(folder):
    for path in _files(folder, 2):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax
@pytest.mark.parametrize("damage", [_damage_numbers, _damage_position, _cut_everything])
def test_a_damaged_one_is_set_aside_and_the_one_before_it_taken(damage, tmp_path):
    folder = tmp_path / "checkpoints"
    _save(folder, [1, 2])
    damage(folder)
    found = _restore(folder)
    assert found is not None and int(found.state.step) == 1
    assert (tmp_path / "damaged" / "2").is_dir()
    _save(folder, [2])
    assert int(_restore(folder).state.step) == 2


@pytest.mark.parametrize("look_only", [True, False])
def test_a_damaged_score_costs_no_checkpoint(look_only, tmp_path):
    _save(tmp_path, [1, 2, 3], scores={1: 9.0, 2: 0.0, 3: 0.0}, keep=2)
    (tmp_path / "2" / "metrics" / "metrics").write_text('{"sco')
    assert int(_restore(tmp_path, look_only=look_only).state.step) == 3


def test_where_all_are_damaged_it_says_so(tmp_path):
    _save(tmp_path, [2])
    _cut_everything(tmp_path)
    with pytest.raises(UserError, match="none of the checkpoints can be read"):
        _restore(tmp_path)


def test_what_was_not_finished_is_no_checkpoint(tmp_path):
    _save(tmp_path, [1])
    unfinished = tmp_path / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert int(_restore(tmp_path, look_only=True).state.step) == 1
    assert unfinished.exists()  # a run may be writing it
    assert int(_restore(tmp_path).state.step) == 1
    assert not unfinished.exists()
