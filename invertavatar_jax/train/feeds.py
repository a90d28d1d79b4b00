"""Where a run's batches come from: frame records, or rendered people with all they are."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from invertavatar_jax import settings
from invertavatar_jax.data import shards
from invertavatar_jax.data import training as records
from invertavatar_jax.fit import morphable
from invertavatar_jax.train.config import Training, stage_module
from invertavatar_jax.train.examples import make_preparer

HELD_OUT_BATCHES = 4
_HELD_OUT_SEED = 1


class Feed(NamedTuple):
    """This process's rows of a run's batches."""

    batches: Any  # endless iterator of trees of arrays, with get_state and set_state
    held_out: list[Any]  # batches of clips or people that are never trained on
    fingerprint: str  # of the data


def open_feed(training: Training) -> Feed:
    """Opens the training data of a run.

    Raises:
        UserError: there is none, it does not fit the preset, or nothing is left to train on.
    """
    if "." in training.stage:
        return stage_module(training.stage).open_feed(training)
    return (_open_shards if training.stage == "supervised" else _open_records)(training)


def _open_records(training: Training) -> Feed:
    found = records.open_records(training.data)
    found.check(settings.preset(training.preset))
    train, held = found.split(training.held_out)
    options = dict(frames=training.frames, batch=training.batch_size)
    process = jax.process_index(), jax.process_count()
    batches = records.pipeline(train, seed=training.seed, process=process, **options)
    shown: list[Any] = []
    if held.clips:
        others = records.pipeline(held, seed=_HELD_OUT_SEED, process=process, **options)
        shown = [next(others) for _ in range(HELD_OUT_BATCHES)]
    return Feed(batches, shown, found.fingerprint)


class _Prepared(Iterator):
    """Batches of shards with all that networks read of them."""

    def __init__(self, inner: Any, prepare: Any, rows: slice):
        self._inner, self._prepare, self._rows = inner, prepare, rows

    def __next__(self) -> Any:
        """The next batch."""
        raw = next(self._inner)
        return self._prepare({name: values[self._rows] for name, values in raw.items()})

    def get_state(self) -> dict[str, Any]:
        """The position."""
        return self._inner.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        self._inner.set_state(state)


def _open_shards(training: Training) -> Feed:
    own, batch = training.settings, training.batch_size
    prepare = make_preparer(morphable.load_head_model(), settings.preset(training.preset))
    index, count = jax.process_index(), jax.process_count()
    rows = slice(index * batch // count, (index + 1) * batch // count)
    train = shards.Shards(training.data, slice(None, -training.held_out or None))
    how = shards.Picking(own.sources, own.targets, own.colour_jitter, own.tracking_noise)
    batches = shards.pipeline(train, how, batch, training.seed)
    shown: list[Any] = []
    if training.held_out:
        held = shards.Shards(training.data, slice(-training.held_out, None))
        exact = shards.Picking(own.sources, own.targets, 0.0, 0.0)
        others = _Prepared(shards.pipeline(held, exact, batch, _HELD_OUT_SEED), prepare, rows)
        shown = [next(others) for _ in range(HELD_OUT_BATCHES)]
    return Feed(_Prepared(batches, prepare, rows), shown, train.fingerprint)


def place(batch: Any, sharding: jax.sharding.NamedSharding) -> Any:
    """A process's rows as its part of the whole batch, on the devices."""
    put = lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x))
    return jax.tree.map(put, batch)
