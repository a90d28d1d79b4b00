"""Repeats a stretch of a run and compares it, bit by bit, with what the run has noted."""

import pathlib
from typing import NamedTuple

import jax

from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights
from invertavatar_jax.train import checksum, feeds, manifest
from invertavatar_jax.train.checkpoint import Checkpoints
from invertavatar_jax.train.loop import CHECKPOINTS, Batches
from invertavatar_jax.train.program import Program
from invertavatar_jax.train.runs import settings_of
from invertavatar_jax.train.state import TrainState


class Replayed(NamedTuple):
    """What came of it."""

    from_step: int  # of the checkpoint that it began at; 0 is the run's beginning
    compared: list[int]  # steps whose checksums both have
    differs_at: int | None  # the first of them that is not equal
    leaves: list[str]  # of the state, that differ there


def replay(
    run: str | pathlib.Path,
    first: int,
    last: int,
    *,
    weights: Weights | None = None,
    program: Program | None = None,
) -> Replayed:
    """Repeats the steps up to `last`, from the newest checkpoint at or before `first`.

    The run's folder is only read. Comparing ends at the first difference.

    Args:
        weights: that the run began with, where no checkpoint is old enough.
        program: of the run, in place of a new one.

    Raises:
        UserError: there is no such run, its data have changed, or it has noted no checksum of
            these steps.
    """
    training = settings_of(run, same_mesh=True)
    noted = checksum.read(run)
    if not any(first <= step <= last for step in noted):
        raise UserError(
            f"{run} has noted no checksum from step {first} to {last}; it has those of "
            f"{_told(sorted(noted))}."
        )
    program = program or Program(training, weights)
    feed = feeds.open_feed(training)
    if feed.fingerprint != manifest.read_manifests(run)[-1]["data"]:
        raise UserError(f"{training.data} holds other training data than {run} was made with.")
    state = _begin(run, first, program, feed)
    key, begin = jax.random.key(training.seed), int(state.step)
    batches, compared = Batches(feed, program), []
    for step in range(begin, last):
        state, _ = program.iterate(state, batches.draw(), key, step)
        if step + 1 not in noted:
            continue
        compared.append(step + 1)
        found = checksum.noted(checksum.checksum(state))
        if found != noted[step + 1]:
            leaves = _different(state, found, noted[step + 1])
            return Replayed(begin, compared, step + 1, leaves)
    return Replayed(begin, compared, None, [])


def _begin(run: str | pathlib.Path, first: int, program: Program, feed: feeds.Feed) -> TrainState:
    folder = pathlib.Path(run) / CHECKPOINTS
    restored = None
    if folder.is_dir():
        with Checkpoints(folder, look_only=True) as checkpoints:
            restored = checkpoints.restore(program.shapes, program.shardings, last=first)
    if restored is None:
        return program.begin()
    feed.batches.set_state(restored.position)
    return restored.state


def _different(state: TrainState, mine: checksum.Noted, theirs: checksum.Noted) -> list[str]:
    pairs = zip(checksum.names(state), mine.leaves, theirs.leaves, strict=True)
    return [name for name, left, right in pairs if left != right]


def _told(steps: list[int]) -> str:
    return f"{len(steps)} steps from {steps[0]} to {steps[-1]}" if steps else "no step"
