"""Scores systems on the trials of a protocol: a row per avatar, and means over people."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.evaluation.footage import Footage
from experiments.evaluation.protocols import Trial
from experiments.evaluation.systems import System
from invertavatar_jax.metrics import bootstrap
from invertavatar_jax.metrics.metric import Metric
from invertavatar_jax.metrics.registry import MASKED, METRICS, PAIRS

Row = dict[str, Any]


def rows(
    name: str,
    system: System,
    trials: Sequence[Trial],
    people: Sequence[Footage],
    metrics: Mapping[str, Metric],
) -> Iterator[Row]:
    """What every trial gives: its numbers, the seconds it took, the values of every metric.

    People drive themselves: images are compared with what the camera saw, where the head is.

    Raises:
        ValueError: a metric of another kind than pairs of images, or a trial that another
            person drives, of which there is no truth.
    """
    for metric in metrics:
        if METRICS[metric].compares not in (PAIRS, MASKED):
            raise ValueError(f"got the metric {metric!r}, expected one that compares images")
    for trial in trials:
        if trial.driver != trial.person:
            raise ValueError(f"got {trial}, expected one that its own person drives")
        person = people[trial.person]
        begun = time.monotonic()
        avatar = system.reconstruct([person.frames[i] for i in trial.sources])
        made = time.monotonic()
        images = system.render(avatar, [person.frames[i] for i in trial.frames])
        drawn = time.monotonic()
        truth, head = (array[list(trial.frames)] for array in (person.truth, person.head))
        yield {
            "system": name,
            "person": person.name,
            "sources": trial.sources,
            "frames": trial.frames,
            "reconstruct_s": round(made - begun, 3),
            "render_s": round(drawn - made, 3),
            "values": {
                metric: [_number(x) for x in _measure(metric, of, images, truth, head)]
                for metric, of in metrics.items()
            },
        }


def _measure(name: str, metric: Metric, images, truth, head) -> np.ndarray:
    masked = (head,) if METRICS[name].compares == MASKED else ()
    return metric(images, truth, *masked).values


def _number(x: float) -> float | None:
    return round(float(x), 5) if math.isfinite(x) else None


def summary(found: Sequence[Row], metrics: Mapping[str, Metric], seed: int) -> list[Row]:
    """Means over people with 95 % intervals, for each system and number of source frames."""
    keys = dict.fromkeys((row["system"], len(row["sources"])) for row in found)
    out = []
    for system, count in keys:
        some = [r for r in found if (r["system"], len(r["sources"])) == (system, count)]
        row = {"system": system, "sources": count, "avatars": len(some)}
        for name, metric in metrics.items():
            values = [(x, r["person"]) for r in some for x in r["values"][name]]
            numbers = np.array([np.nan if x is None else x for x, _ in values])
            whom = [person for _, person in values]
            interval = bootstrap.interval(numbers, whom, seed=seed)._asdict()
            fields = {k: _number(v) if isinstance(v, float) else v for k, v in interval.items()}
            row[name] = fields | {"unit": metric.unit, "better": metric.better}
        out.append(row)
    return out
