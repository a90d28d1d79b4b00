"""What a run writes down: log.jsonl, TensorBoard's scalars and pictures, the progress bar."""

import contextlib
import io
import math
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from invertavatar_jax.compile.targets import DEVICES
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import picture
from invertavatar_jax.train import events, rows

FILE = "log.jsonl"
# devices by the name that JAX reports -> DEVICES; of others no peak is assumed
_KINDS = {"NVIDIA H100 80GB HBM3": "h100", "TPU v5 lite": "v5e"}
_Row = tuple[int, dict[str, Any]]


class NonFinite(UserError):
    """A metric of a step is infinite or not a number."""


class Work(NamedTuple):
    """What steps cost, on average, from which the log computes rates."""

    images: int  # of the global batch
    flops: float  # of one device
    peak_flops_per_s: float | None  # of one device; None: not known

    def rates(self, seconds_per_step: float) -> dict[str, float]:
        """Seconds and images; the share of the device's peak, or GFLOP/s where it has none."""
        rates = {
            "seconds_per_step": seconds_per_step,
            "images_per_second": self.images / seconds_per_step,
        }
        if self.peak_flops_per_s:
            rates["utilisation"] = self.flops / seconds_per_step / self.peak_flops_per_s
        else:
            rates["gflops_per_second"] = self.flops / seconds_per_step / 1e9
        return rates


def peak_flops(device_kind: str, compute: str) -> float | None:
    """A device's peak in floating point operations a second; None where it is not known.

    Args:
        device_kind: of a jax.Device.
        compute: a name of settings.COMPUTE.
    """
    peaks = DEVICES[_KINDS[device_kind]].flops_per_s if device_kind in _KINDS else None
    return peaks[compute] if peaks else None


def read(folder: str | pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl in order; a line torn by a kill is left out."""
    return rows.read(pathlib.Path(folder) / FILE)


class Log:
    """Writes metrics of a run without making the loop wait for the device at every step.

    Metrics stay on the device until `log_every` steps have come together, and become one line:
    their means, `step` (the last) and `steps` (how many). Call `flush`, or enter `paused`,
    before a checkpoint is committed: then a resumed run's log has every step once, and no
    checkpoint holds a state after a metric that is not finite.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        total_steps: int,
        start_step: int,
        *,
        stage: str,
        images_per_step: int,
        products: str = "float32",
        log_every: int = 10,
        progress: bool = True,
        is_main: bool = True,
    ):
        """Opens the log of a run that goes on after `start_step`; later lines are dropped.

        Args:
            images_per_step: of the global batch.
            products: as of config.Training.
            is_main: others check metrics and write nothing.

        Raises:
            UserError: the folder cannot be written.
        """
        self._folder, self._stage, self._log_every = pathlib.Path(folder), stage, log_every
        self._images = images_per_step
        self._peak = peak_flops(jax.devices()[0].device_kind, products)
        self._rows: list[_Row] = []
        self._flops: list[float] = []  # of the same steps
        self._fresh = True  # the first step compiles
        self._log = self._events = None
        with contextlib.ExitStack() as opened:
            if is_main:
                self._log = opened.enter_context(rows.reopen(self._folder / FILE, start_step))
                self._events = opened.enter_context(_new_events(self._folder / "tensorboard"))
                rows.append_bytes(self._events, events.begin(start_step + 1))
            self._opened = opened.pop_all()
        often = 0.2 if sys.stderr.isatty() else 10.0  # seconds; a file of output needs few lines
        self._bar = tqdm(
            total=total_steps,
            initial=start_step,
            desc=stage,
            unit="step",
            mininterval=often,
            disable=not (progress and is_main),
        )
        self._since = time.monotonic()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._bar.close()
            self._opened.close()

    def add(self, step: int, metrics: dict[str, jax.Array], flops: float) -> None:
        """Collects the metrics of the iteration that made `step`; phases may be left out.

        Args:
            flops: that the iteration took of one device.

        Raises:
            NonFinite: see flush.
        """
        self._rows.append((step, metrics))
        self._flops.append(flops)
        self._bar.update()
        if self._fresh or step % self._log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Waits for the steps collected so far and writes them.

        Raises:
            NonFinite: naming step, stage and metric; the steps before it are written.
            UserError: no space is left on the disk.
        """
        if not self._rows:
            return
        new: list[_Row] = [(step, jax.device_get(metrics)) for step, metrics in self._rows]
        seconds = (time.monotonic() - self._since) / len(new)
        work = Work(self._images, float(np.mean(self._flops)), self._peak)
        self._rows, self._flops = [], []
        first_bad = next((i for i, (_, row) in enumerate(new) if _not_finite(row)), len(new))
        if first_bad:
            self._write_means(new[:first_bad], seconds, work)
        if first_bad < len(new):
            raise NonFinite(_what_failed(self._stage, *new[first_bad]))
        self._fresh, self._since = False, time.monotonic()

    def _write_means(self, new: list[_Row], seconds: float, work: Work) -> None:
        names = dict.fromkeys(name for _, row in new for name in row)
        means = {
            name: float(np.mean([row[name] for _, row in new if name in row])) for name in names
        }
        rates = {"first_step_seconds": seconds} if self._fresh else work.rates(seconds)
        self.write(new[-1][0], {"steps": len(new), **means, **rates})
        headline = [name for name in names if "loss" in name or "psnr" in name] or list(names)
        shown = {name: f"{means[name]:.3g}" for name in headline[:3]}
        for name in ("utilisation", "gflops_per_second"):
            if name in rates:
                shown[name] = f"{rates[name]:.3g}"
        self._bar.set_postfix(shown)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Flushes; what happens inside counts as no step's time."""
        self.flush()
        yield
        self._since = time.monotonic()

    def write(self, step: int, values: Mapping[str, float], prefix: str = "") -> None:
        """Appends a line of JSON, and the same numbers for TensorBoard.

        Args:
            prefix: put before every name, such as "held_out/". A number that is not finite
                becomes null, and is left out of TensorBoard.

        Raises:
            UserError: no space is left on the disk.
        """
        if self._log is None or self._events is None:
            return
        named = {f"{prefix}{name}": value for name, value in values.items()}
        numbers = {name: v for name, v in named.items() if math.isfinite(v)}
        row = {name: numbers.get(name) for name in named}
        rows.append(self._log, {"step": step, **row})
        rows.append_bytes(self._events, events.scalars(step, numbers))

    def image(self, step: int, name: str, shown: picture.Picture) -> None:
        """Writes images/NAME_STEP.png, and the same for TensorBoard.

        Raises:
            UserError: no space is left on the disk.
        """
        if self._events is None:
            return
        path = self._folder / "images" / f"{name}_{step:08d}.png"
        picture.write_png(path, shown)
        height, width, _ = shown.shape
        rows.append_bytes(self._events, events.image(step, name, path.read_bytes(), height, width))


def _not_finite(metrics: dict[str, np.ndarray]) -> list[str]:
    return [name for name, value in metrics.items() if not np.isfinite(value).all()]


def _what_failed(stage: str, step: int, metrics: dict[str, np.ndarray]) -> str:
    bad = ", ".join(f"{name} = {metrics[name]}" for name in _not_finite(metrics))
    return (
        f"stage {stage}, step {step}: {bad}. The run stops and its last checkpoint is kept: "
        "lower the learning rate and begin a new run from it, or look for bad data."
    )


def _new_events(folder: pathlib.Path) -> io.FileIO:
    """A new file of TensorBoard's, whose name sorts behind those of earlier starts."""
    path = folder / f"events.out.tfevents.{time.time_ns()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise rows.not_written(path, error) from error
