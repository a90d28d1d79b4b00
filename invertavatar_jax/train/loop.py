"""The training loop: next batches, an iteration; now and then measure, show, save."""

import contextlib
import dataclasses
import io
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np

from invertavatar_jax import weights as files
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights
from invertavatar_jax.train import checksum, feeds, grids, manifest, processes, report, rows
from invertavatar_jax.train.checkpoint import Checkpoints, Restored
from invertavatar_jax.train.config import Training, to_dict
from invertavatar_jax.train.log import Log
from invertavatar_jax.train.program import Program
from invertavatar_jax.train.signals import StopRequest
from invertavatar_jax.train.state import TrainState, shipped
from invertavatar_jax.train.step import batch_sharding
from invertavatar_jax.train.watchdog import Watchdog

WEIGHTS = "weights.safetensors"  # of a run's folder, written when it ends
CHECKPOINTS = "checkpoints"
SCORES = ("psnr_head", "psnr")  # of held-out samples; the first that is measured ranks
STUCK_S, FIRST_STUCK_S = 1800.0, 7200.0  # without a step: the first compiles


class Batches:
    """Batches on the devices, the next of them read while an iteration is computed."""

    def __init__(self, feed: feeds.Feed, program: Program):
        """Begins at the feed's position."""
        self._inner, self._draws = feed.batches, program.stage.draws
        self._sharding = batch_sharding(program.placing)
        self._ahead: list[Any] | None = None
        self.position = self._inner.get_state()  # behind what `draw` returned last

    def draw(self) -> list[Any]:
        """One iteration's batches."""
        drawn = self._read() if self._ahead is None else self._ahead
        self._ahead, self.position = None, self._inner.get_state()
        return drawn

    def read_ahead(self) -> None:
        """Reads the next iteration's batches."""
        self._ahead = self._read()

    def _read(self) -> list[Any]:
        return [feeds.place(next(self._inner), self._sharding) for _ in range(self._draws)]


def train(
    training: Training,
    out: str | pathlib.Path,
    *,
    weights: Weights | None = None,
    minutes: float = float("inf"),
    last_step: int | None = None,
    progress: bool = True,
    program: Program | None = None,
) -> TrainState:
    """Runs or resumes a training run in the folder `out`.

    Args:
        weights: to begin with where `out` holds no checkpoint.
        minutes: stops, with a checkpoint, after this time.
        last_step: stops there, with a checkpoint.
        program: of another run with these settings, in place of a new one.

    Raises:
        UserError: missing data, other settings than those the run was begun with, a loss that
            is not finite, or a checkpoint that cannot be written.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    program = program or Program(training, weights)
    feed = feeds.open_feed(training)
    end = training.total_steps if last_step is None else min(last_step, training.total_steps)
    with StopRequest() as stop, Checkpoints(out / CHECKPOINTS, training.keep) as checkpoints:
        restored = checkpoints.restore(program.shapes, program.shardings)
        begun = _describe(training, feed, program, out, restored)
        if restored is None:
            state = program.begin()
        else:
            state = restored.state
            feed.batches.set_state(restored.position)
        run = _Run(training, out, program, feed, checkpoints, begun, stop)
        state = run.go(state, end, time.monotonic() + 60 * minutes, progress)
    return state


def _describe(
    training: Training,
    feed: feeds.Feed,
    program: Program,
    out: pathlib.Path,
    restored: Restored | None,
) -> dict[str, Any]:
    """Writes this start's manifest; refuses to go on with other settings."""
    made = manifest.make_manifest(
        to_dict(training),
        data_fingerprint=feed.fingerprint,
        mesh_shape=dict(program.placing.mesh.shape),
        seeds={"run": training.seed},
        from_step=0 if restored is None else int(restored.state.step),
    )
    if restored is not None:
        _check_same(restored.run["manifest"], made, out)
    if jax.process_index() == 0:
        manifest.write_manifest(out, made)
    return {"manifest": made}


_MAY_CHANGE = ("mesh", "sharding", "total_steps", "keep", "data", "weights")  # and intervals


def _check_same(old: dict[str, Any], new: dict[str, Any], out: pathlib.Path) -> None:
    fixed = lambda made: {
        "config": {
            name: value
            for name, value in made["config"].items()
            if name not in _MAY_CHANGE and not name.endswith("_every")
        }
    }
    if different := manifest.compare_config(fixed(old), fixed(new)):
        raise UserError(
            f"{out} holds a run with other settings: {' '.join(different)} Give the settings it "
            "was begun with, or another folder."
        )
    if old["data"] != new["data"]:
        raise UserError(
            f"{out} was begun with other training data than {new['config']['data']} holds: give "
            "the same data, or another folder."
        )
    rest = lambda made: {name: value for name, value in made.items() if name != "config"}
    for sentence in manifest.compare(rest(old), rest(new)):
        print(f"note: since the last checkpoint, {sentence}", file=sys.stderr)


@dataclasses.dataclass
class _Run:
    """What the iterations of a run share."""

    training: Training
    out: pathlib.Path
    program: Program
    feed: feeds.Feed
    checkpoints: Checkpoints
    described: dict[str, Any]
    stop: StopRequest

    def go(self, state: TrainState, end: int, deadline: float, progress: bool) -> TrainState:
        """Iterations up to `end`, the deadline or a signal; then the weights."""
        training, step = self.training, int(state.step)
        key = jax.random.key(training.seed)
        batches = Batches(self.feed, self.program)
        with (
            Watchdog(STUCK_S, self.out, first_limit_s=FIRST_STUCK_S) as dog,
            self._open_log(step, progress) as log,
            self._open_checksums(step) as sums,
        ):
            last = step >= end or processes.any_of(self.stop.requested)
            while not last:
                state, metrics = self.program.iterate(state, batches.draw(), key, step)
                flops, step = self.program.flops(step), step + 1
                log.add(step, metrics, flops)
                dog.beat(FIRST_STUCK_S if step < 3 else None)
                last = step == end or self._stops(step, time.monotonic() > deadline)
                if not last:
                    batches.read_ahead()
                self._at(state, step, last, log, sums, batches)
            self.checkpoints.wait()
        save_weights(self.out / WEIGHTS, training, self.program, state)
        if jax.process_index() == 0:
            report.write_summary(self.out)
        if self.stop.requested and step < end:
            print(
                f"stopped by {self.stop.name} at step {step}; run the same command again to go on",
                file=sys.stderr,
            )
        return state

    def _stops(self, step: int, late: bool) -> bool:
        """Whether to end here, in all processes alike; several agree on it now and then."""
        wanted = late or self.stop.requested
        if jax.process_count() > 1 and step % self.training.log_every:
            return False
        return processes.any_of(wanted)

    def _open_log(self, step: int, progress: bool) -> Log:
        return Log(
            self.out,
            self.training.total_steps,
            step,
            stage=self.training.stage,
            images_per_step=self.training.batch_size * self.training.frames,
            products=self.training.products,
            log_every=self.training.log_every,
            progress=progress,
            is_main=jax.process_index() == 0,
        )

    def _open_checksums(self, step: int) -> contextlib.AbstractContextManager[io.FileIO | None]:
        if jax.process_index():
            return contextlib.nullcontext()
        return rows.reopen(self.out / checksum.FILE, step)

    def _at(
        self,
        state: TrainState,
        step: int,
        last: bool,
        log: Log,
        sums: io.FileIO | None,
        batches: Batches,
    ) -> None:
        """What is done at intervals."""
        training = self.training
        due = lambda every: bool(every) and (last or step % every == 0)
        if step % training.log_every == 0 or due(training.checkpoint_every):
            found = checksum.checksum(state)
            if sums is not None:
                checksum.note(sums, step, found)
        score = None
        if due(training.validate_every) or step == 1:
            with log.paused():
                score = self._validate(state, step, log)
        if due(training.image_every):
            with log.paused():
                self._show(state, step, log)
        if due(training.checkpoint_every):
            with log.paused():
                self.checkpoints.save(state, batches.position, self.described, score)

    def _validate(self, state: TrainState, step: int, log: Log) -> float | None:
        """Measures held-out samples; returns what checkpoints are ranked by."""
        if not self.feed.held_out:
            return None
        sharding, key = batch_sharding(self.program.placing), jax.random.key(0)
        rows = [
            jax.device_get(self.program.measure(state, feeds.place(batch, sharding), key))
            for batch in self.feed.held_out
        ]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        log.write(step, means, prefix="held_out/")
        return next((means[name] for name in SCORES if name in means), None)

    def _show(self, state: TrainState, step: int, log: Log) -> None:
        if not self.feed.held_out:
            return
        few = jax.tree.map(lambda x: x[: self.training.microbatch], self.feed.held_out[0])
        few = processes.of_first(few)
        images = jax.device_get(self.program.show(state, few, jax.random.key(0)))
        log.image(step, "samples", grids.grid(images))


def save_weights(
    path: pathlib.Path, training: Training, program: Program, state: TrainState
) -> None:
    """Writes a state's weights as users load them, and the critics beside them.

    Of several processes the first one writes; all must call it.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    held = processes.gather(shipped(program.stage, state))
    if jax.process_index():
        return
    facts = {"stage": training.stage, "steps": int(state.step), "preset": training.preset}
    files.save_exact(path, held, program.model, {"facts": facts})
