"""Scores systems on the trials of a part: a row per avatar, and means over people."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.evaluation.experiment import Part
from experiments.evaluation.footage import Footage
from experiments.evaluation.outside import Recorded
from experiments.evaluation.protocols import Trial
from experiments.evaluation.systems import System
from invertavatar_jax.metrics import bootstrap
from invertavatar_jax.metrics.metric import Metric
from invertavatar_jax.metrics.registry import DRIVEN, MASKED, METRICS, PAIRS, PERSONS
from invertavatar_jax.ops.resize import resize_antialias

Row = dict[str, Any]
COMPARES = (PAIRS, MASKED, DRIVEN, PERSONS)


class Task(NamedTuple):
    """One avatar to make, and to drive."""

    part: Part
    trial: Trial
    person: Footage
    driver: Footage

    @property
    def pictures(self) -> list[str]:
        """What the pictures of it are called that a method made elsewhere; see outside.py."""
        sources, place = len(self.trial.sources), f"{self.part.name}/{self.person.name}"
        return [f"{place}/{sources}_{self.driver.name}/{i:05d}.png" for i in self.trial.frames]

    @property
    def alone(self) -> bool:
        """Whether the person drives itself, so that the truth is known."""
        return self.driver is self.person


class Done(NamedTuple):
    """What a system made of a task."""

    task: Task
    row: Row
    images: np.ndarray  # n h w 3 in [-1, 1]


def tasks(
    part: Part, trials: Sequence[Trial], people: Sequence[Footage], drivers: Sequence[Footage]
) -> list[Task]:
    """Trials with their clips."""
    return [Task(part, one, people[one.person], drivers[one.driver]) for one in trials]


def evaluate(
    systems: Mapping[str, System | Recorded], todo: Sequence[Task], metrics: Mapping[str, Metric]
) -> Iterator[Done]:
    """What every system makes of every task: numbers, seconds, values of every metric.

    Systems take turns, so that what was prepared for one is there for the others. A system
    that reads some of the sources alone is not asked again for the same ones.

    Raises:
        ValueError: a metric of another kind than pairs of images, or one that needs the truth
            of a task that another person drives, of which there is none.
        UserError: pictures made elsewhere are missing.
    """
    last: dict[str, tuple[tuple, Done]] = {}
    for task in todo:
        for name, system in systems.items():
            most = system.most if isinstance(system, System) else None
            key = (id(task.person), task.trial.sources[:most], task.trial[2:])
            if name not in last or last[name][0] != key:
                last[name] = key, _evaluate(name, system, task, metrics)
            done = last[name][1]
            yield Done(task, done.row | {"sources": task.trial.sources}, done.images)


def draw(system: System | Recorded, task: Task) -> tuple[np.ndarray, dict[str, float]]:
    """Images of a task, [n h w 3] in [-1, 1], at the truth's size, and the seconds they took."""
    trial, person, side = task.trial, task.person, task.person.truth.shape[1]
    if isinstance(system, Recorded):
        return system.read(task.pictures, side), {}
    begun = time.monotonic()
    sources = [person.frames[i] for i in trial.sources]
    avatar = jax.block_until_ready(system.reconstruct(sources))
    made = time.monotonic()
    images = system.render(avatar, [task.driver.frames[i] for i in trial.frames])
    seconds = {"reconstruct_s": made - begun, "render_s": time.monotonic() - made}
    images = np.asarray(resize_antialias(images, (side, side)))
    return images, {name: round(value, 3) for name, value in seconds.items()}


def _evaluate(
    name: str, system: System | Recorded, task: Task, metrics: Mapping[str, Metric]
) -> Done:
    trial = task.trial
    images, seconds = draw(system, task)
    values = {
        metric: [_number(x) for x in _measure(metric, of, images, task)]
        for metric, of in metrics.items()
    }
    row = {
        "part": task.part.name,
        "system": name,
        "person": task.person.name,
        "driver": task.driver.name,
        "sources": trial.sources,
        "frames": trial.frames,
        **seconds,
        "values": values,
    }
    return Done(task, row, images)


def compare_sets(system: System | Recorded, todo: Sequence[Task], metric: Metric) -> dict[str, Any]:
    """A metric of all images that a system makes, beside all frames that drove it."""
    images = lambda: (image for task in todo for image in draw(system, task)[0])
    real = (x for one in {id(t.driver): t.driver for t in todo}.values() for x in one.truth)
    found = metric(images(), real)
    return {"mean": _number(found.mean), "low": None, "high": None, "missing": 0} | found.counts


def _measure(name: str, metric: Metric, images: np.ndarray, task: Task) -> np.ndarray:
    """Images beside what the camera saw; where it did not see it, persons beside a source.

    Random identities are compared with their first image.
    """
    compares, frames = METRICS[name].compares, list(task.trial.frames)
    if compares not in COMPARES:
        raise ValueError(f"got the metric {name!r}, expected one that compares images")
    if compares in (PAIRS, MASKED) and not task.alone:
        raise ValueError(f"got {task.trial}, expected one that its own person drives")
    if compares == PERSONS and task.part.of_prior:
        return metric(images[1:], images[:1]).values if len(images) > 1 else np.zeros(0)
    if compares == PERSONS and not task.alone:
        return metric(images, task.person.truth[[task.trial.sources[0]]]).values
    masked = (task.driver.head[frames],) if compares == MASKED else ()
    return metric(images, task.driver.truth[frames], *masked).values


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
            row[name] = _interval(numbers, whom, seed) | {
                "unit": metric.unit,
                "better": metric.better,
            }
        out.append(row)
    return out


def difference(
    found: Sequence[Row], name: str, one: tuple[str, int], other: tuple[str, int], seed: int
) -> Row:
    """A metric of one system less that of another, frame by frame: mean over people, interval.

    Args:
        one: system and number of source frames.
        other: likewise, driven by the same frames.
    """
    pick = lambda key: [row for row in found if (row["system"], len(row["sources"])) == key]
    values: list[float] = []
    whom: list[str] = []
    for a, b in zip(pick(one), pick(other), strict=True):
        if any(a[k] != b[k] for k in ("person", "driver", "frames")):
            raise ValueError(f"got {one} and {other}, expected the same trials of both")
        for left, right in zip(a["values"][name], b["values"][name], strict=True):
            values.append(np.nan if left is None or right is None else left - right)
            whom.append(a["person"])
    return _interval(np.array(values), whom, seed)


def _interval(values: np.ndarray, whom: Sequence[str], seed: int) -> Row:
    """bootstrap.Interval as a result holds it: numbers that there are not are None."""
    found = bootstrap.interval(values, whom, seed=seed)._asdict()
    return {k: _number(v) if isinstance(v, float) else v for k, v in found.items()}
