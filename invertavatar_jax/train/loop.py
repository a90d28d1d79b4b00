"""The training loop: next batch, step; now and then log, validate, checkpoint, ship."""

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from tqdm import tqdm

from invertavatar_jax import networks, settings
from invertavatar_jax.data import shards
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import morphable
from invertavatar_jax.pure import Weights
from invertavatar_jax.train.checkpoint import Checkpoints
from invertavatar_jax.train.config import Training
from invertavatar_jax.train.examples import Example, make_preparer
from invertavatar_jax.train.state import TrainState, make_state, shipped
from invertavatar_jax.train.step import make_optimizer, make_train_step
from invertavatar_jax.train.supervised import supervised_loss

LOG_EVERY = 10


def make_loss(training: Training) -> Callable[..., Any]:
    """The stage's loss: params, buffers, example, key -> loss, metrics."""
    model = settings.preset(training.preset)
    return functools.partial(supervised_loss, networks.build(model), model, training.losses)


class Program(NamedTuple):
    """What a run computes. Runs of one process that share it compile it once."""

    optimizer: optax.GradientTransformation
    step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]  # see make_train_step
    measure: Callable[[TrainState, Example], dict[str, jax.Array]]  # nothing random
    prepare: Callable[..., Example]  # see make_preparer


def make_program(training: Training) -> Program:
    """The functions of a run with these settings; they compile when first called."""
    optimizer = make_optimizer(
        training.rate, training.total_steps, training.warmup_steps, training.clip
    )
    loss, key = make_loss(training), jax.random.key(0)
    return Program(
        optimizer,
        make_train_step(loss, optimizer, training.average_decay),
        jax.jit(lambda state, example: loss(state.average, state.buffers, example, key)[1]),
        make_preparer(morphable.load_head_model(), settings.preset(training.preset)),
    )


def make_validation(
    training: Training, program: Program, count: int = 4
) -> Callable[[TrainState], dict[str, float]]:
    """The loss's metrics on identities that were held out, with nothing random."""
    source = shards.Shards(training.data, slice(-training.held_out, None))
    how = shards.Picking(training.sources, training.targets, 0.0, 0.0)
    data = shards.pipeline(source, how, training.batch_size, seed=1)
    batches = [program.prepare(next(data)) for _ in range(count)]

    def validate(state: TrainState) -> dict[str, float]:
        rows = [jax.device_get(program.measure(state, batch)) for batch in batches]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    return validate


def train(
    training: Training,
    out: str | pathlib.Path,
    *,
    start_from: Weights | None = None,
    ship: Callable[[Weights, dict], None] | None = None,
    minutes: float = float("inf"),
    progress: bool = True,
    program: Program | None = None,
) -> TrainState:
    """Runs or resumes a training run in the folder `out`.

    Args:
        start_from: weights to begin with where `out` holds no checkpoint.
        ship: called with the averaged weights and facts of the run at every checkpoint.
        minutes: stops, with a checkpoint, after this time.
        program: of another run with these settings, in place of a new one.

    Raises:
        UserError: on missing data, or when the loss stops being finite.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    model = settings.preset(training.preset)
    program = program or make_program(training)
    source = shards.Shards(training.data, slice(None, -training.held_out))
    how = shards.Picking(
        training.sources, training.targets, training.colour_jitter, training.tracking_noise
    )
    data = shards.pipeline(source, how, training.batch_size, training.seed)
    key_init, key = jax.random.split(jax.random.key(training.seed))
    begin = lambda: make_state(start_from or networks.init(model, key_init), program.optimizer)
    validate = make_validation(training, program)
    with Checkpoints(out / "checkpoints") as checkpoints:
        if (restored := checkpoints.restore(jax.eval_shape(begin))) is None:
            # bound to a device, as a restored state is: one program serves both
            state = jax.device_put(begin(), jax.devices()[0])
        else:
            state, position = restored
            data.set_state(json.loads(position["grain"]))
        log = Log(out / "log.jsonl", training.total_steps, int(state.step), progress)
        deadline = time.monotonic() + 60 * minutes
        for step in range(int(state.step), training.total_steps):
            state, metrics = program.step(state, program.prepare(next(data)), key)
            log.add(step + 1, metrics)
            last = step + 1 == training.total_steps or time.monotonic() > deadline
            if last or step == 0 or (step + 1) % training.validate_every == 0:
                log.write(step + 1, {f"held_out/{k}": v for k, v in validate(state).items()})
            if last or (step + 1) % training.checkpoint_every == 0:
                checkpoints.save(state, {"grain": json.dumps(data.get_state())})
                if ship is not None:
                    facts = {"steps": step + 1, "identities": len(source)}
                    named = {"data": pathlib.Path(training.data).name}
                    facts["training"] = dataclasses.asdict(training) | named
                    ship(jax.device_get(shipped(state)), facts)
            if last:
                break
    log.close()
    return state


class Log:
    """Means of the metrics over some steps: a line of JSON each, and the progress bar."""

    def __init__(self, path: pathlib.Path, total: int, start: int, progress: bool):
        """Appends to `path`."""
        self._file = path.open("a")
        self._bar = tqdm(total=total, initial=start, disable=not progress, unit="step")
        self._rows: list[dict] = []
        self._since = time.monotonic()

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Collects one step; writes every LOG_EVERY steps.

        Raises:
            UserError: if most steps were skipped because a gradient was not finite.
        """
        self._bar.update()
        self._rows.append(metrics)
        if step % LOG_EVERY and step > 3:
            return
        rows = jax.device_get(self._rows)
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        means["seconds_per_step"] = (time.monotonic() - self._since) / len(rows)
        self.write(step, means)
        self._bar.set_postfix({k: f"{means[k]:.3g}" for k in ("loss", "psnr_head")})
        self._rows, self._since = [], time.monotonic()
        if means["skipped"] > 0.5:
            raise UserError(
                f"step {step}: the gradient is not finite in most of the last steps "
                f"(loss {means['loss']}): lower `rate` and resume from the last checkpoint"
            )

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes file and bar."""
        self._bar.close()
        self._file.close()
