"""Checkpoints of a run: the training state, the position in the data and what made them."""

import contextlib
import hashlib
import json
import logging
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import jax
from orbax.checkpoint.experimental import v1 as ocp

from invertavatar_jax.errors import UserError
from invertavatar_jax.train import processes
from invertavatar_jax.train.checksum import checksum, digest
from invertavatar_jax.train.state import TrainState

_policies = ocp.training.preservation_policies


class Restored(NamedTuple):
    """A state, and what was saved with it."""

    state: TrainState
    position: dict[str, Any]  # of the data's iterator
    run: dict[str, Any]  # config, versions
    checksum: str  # of the state, when it was saved


class Checkpoints:
    """A run's folder of checkpoints, each whole or not there. Use as a context manager."""

    def __init__(self, folder: str | pathlib.Path, keep: int = 2, *, look_only: bool = False):
        """Opens or makes `folder`; what was not finished in it is removed.

        Args:
            keep: newest ones that stay; so does the one with the best score.
            look_only: changes nothing in it, since a run may be writing there.
        """
        # what there is to say of a checkpoint, or of a damaged one, is ours to say
        logging.getLogger("absl").setLevel(logging.ERROR)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.folder = pathlib.Path(folder).absolute()
        self._inner = None if look_only else self._open(keep)
        self._pending: Any = None

    def _open(self, keep: int) -> ocp.training.Checkpointer:
        self._forget_torn_scores()
        best = _policies.BestN(
            get_metric_fn=lambda metrics: metrics["score"],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        return ocp.training.Checkpointer(
            self.folder,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=_policies.AnyPreservationPolicy([_policies.LatestN(keep), best]),
            cleanup_tmp_directories=True,
        )

    def _forget_torn_scores(self) -> None:
        """Removes scores that cannot be read, with which the folder could not be opened."""
        for path in self.folder.glob("*/metrics/metrics") if jax.process_index() == 0 else ():
            try:
                float(json.loads(path.read_text())["score"])
            except (ValueError, KeyError, TypeError):
                shutil.rmtree(path.parent)
        processes.wait_for_all("scores")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.wait()
        finally:
            if self._inner is not None:
                with contextlib.suppress(OSError, ValueError):  # again what `wait` has told
                    self._inner.close()

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, oldest first."""
        names = [entry.name for entry in self.folder.iterdir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def save(
        self,
        state: TrainState,
        position: dict[str, Any],
        run: dict[str, Any],
        score: float | None = None,
    ) -> None:
        """Begins to write all under the state's step, and returns before it is on disk.

        Args:
            score: more is better; the best checkpoint is kept.

        Raises:
            UserError: the one before could not be written.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps:
            return
        described = json.dumps(
            {"position": position, "run": run, "checksum": digest(checksum(state))}
        )
        about = {"json": described, "sha256": _sha256(described)}
        if jax.default_backend() == "cpu":  # there, what is written would be the state itself,
            state = jax.tree.map(lambda x: x.copy(), state)  # which the next step uses up
        try:
            self._pending = self._inner.save_checkpointables_async(
                step,
                {"state": state._asdict(), "about": about},
                metrics=None if score is None else {"score": score},
            )
        except OSError as error:
            raise self._not_written(error) from error

    def wait(self) -> None:
        """Returns when nothing is being written any more.

        Raises:
            UserError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except (OSError, ValueError) as error:
            raise self._not_written(error) from error

    def _not_written(self, error: Exception) -> UserError:
        kept = self.steps
        last = f"the last whole one is of step {kept[-1]}" if kept else "there is none yet"
        return UserError(
            f"{self.folder}: a checkpoint could not be written ({error}); {last}. Make room or "
            "give write access, then run the same command again: it goes on from there."
        )

    def restore(
        self, like: TrainState, shardings: TrainState | None = None, last: int | None = None
    ) -> Restored | None:
        """The newest checkpoint that is whole; None if there is none.

        One whose files are damaged is set aside, and the one before it is taken.

        Args:
            like: shapes and types of the state.
            shardings: where its leaves go; None is the first device.
            last: takes no checkpoint of a later step.

        Raises:
            UserError: there are checkpoints, and none of them can be read.
        """
        steps = [step for step in self.steps if last is None or step <= last]
        damaged: list[str] = []
        for step in reversed(steps):
            found = self._try(step, like, shardings)
            if isinstance(found, str):
                damaged.append(f"{step} ({found})")
                continue
            if damaged and self._inner is not None:
                self._set_aside(steps[steps.index(step) + 1 :], damaged)
            return found
        if damaged:
            raise UserError(
                f"{self.folder}: none of the checkpoints can be read: {'; '.join(damaged)}. "
                "Take another folder, or put back files from a copy."
            )
        return None

    def _try(self, step: int, like, shardings) -> Restored | str:
        """A checkpoint, or what is wrong with it, in every process the same of the two."""
        found, fault = None, "another process cannot read it"
        try:
            found = self._load(step, like, shardings)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            fault = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if processes.any_of(found is None) or found is None:
            return fault
        if digest(checksum(found.state)) != found.checksum:
            return "its numbers are not those that were written"
        return found

    def _load(self, step: int, like: TrainState, shardings: TrainState | None) -> Restored:
        alone = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        where = jax.tree.map(lambda _: alone, like) if shardings is None else shardings
        shape = lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at)
        abstract = jax.tree.map(shape, like._asdict(), where._asdict())
        place = self.folder / str(step)
        loaded = ocp.load_checkpointables(place, {"state": abstract, "about": None})
        state = TrainState(**loaded["state"])
        described = loaded["about"]["json"]
        if _sha256(described) != loaded["about"]["sha256"]:
            raise ValueError("its position in the data is not the one that was written")
        about = json.loads(described)
        return Restored(state, about["position"], about["run"], about["checksum"])

    def _set_aside(self, steps: list[int], told: list[str]) -> None:
        """Moves damaged checkpoints away, so that their steps can be written again."""
        away = self.folder.parent / "damaged"
        if jax.process_index() == 0:
            away.mkdir(exist_ok=True)
            for step in steps:
                shutil.rmtree(away / str(step), ignore_errors=True)
                (self.folder / str(step)).rename(away / str(step))
            what = f"note: damaged checkpoints were moved to {away}: {'; '.join(told)}"
            print(what, file=sys.stderr)
        processes.wait_for_all("set aside")
        assert self._inner is not None  # where nothing is changed, nothing is set aside
        self._inner.reload()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
