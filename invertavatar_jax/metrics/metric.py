"""What every figure of merit is: a name, a direction, the weights it judges by, a function."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors

HIGHER, LOWER = "higher", "lower"

Pictures: TypeAlias = Sequence[Float[np.ndarray, "h w 3"]]  # in [-1, 1]; an array is one too


class Found(NamedTuple):
    """What a metric's function returns."""

    values: Float[np.ndarray, " n"]  # one for each thing compared; NaN: it cannot be measured
    counts: dict[str, int]  # of what was compared, and of what was not, by reason


class Score(NamedTuple):
    """Values of a metric, with all that is needed to read them."""

    name: str
    unit: str
    better: str
    weights: dict[str, str] | None
    values: Float[np.ndarray, " n"]  # NaN where nothing could be measured
    counts: dict[str, int]

    @property
    def mean(self) -> float:
        """Over what could be measured; NaN where nothing could."""
        measured = self.values[np.isfinite(self.values)]
        return float(measured.mean()) if len(measured) else float("nan")

    def report(self) -> dict[str, Any]:
        """The score without its single values, as JSON can hold it; mean None: not measured."""
        mean = self.mean
        return {
            "metric": self.name,
            "unit": self.unit,
            "better": self.better,
            "weights": self.weights,
            "mean": mean if np.isfinite(mean) else None,
            "counts": self.counts,
        }


class Metric(NamedTuple):
    """A figure of merit; calling it gives a Score. Its module says what it compares."""

    name: str  # with its network or normalisation: "csim[arcface_ir_se50]"
    unit: str
    better: str  # HIGHER or LOWER
    weights: dict[str, str] | None  # files it judges by -> their SHA-256; None: it needs none
    measure: Callable[..., Found]

    def __call__(self, *compared: Any) -> Score:
        """Measures."""
        values, counts = self.measure(*compared)
        return Score(self.name, self.unit, self.better, self.weights, values, counts)


def check_pairs(got: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Refuses lists that do not pair up; one wanted thing is compared with all.

    Raises:
        ValueError: the lengths differ, or nothing is given.
    """
    if len(got) == 0 or len(wanted) not in (1, len(got)):
        raise ValueError(
            f"got {len(got)} results to compare with {len(wanted)}; expected as many, or 1"
        )


def pairs(got: Pictures, wanted: Pictures) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each result and what it is compared with; see `check_pairs`."""
    check_pairs(got, wanted)
    return zip(got, wanted if len(wanted) > 1 else itertools.repeat(wanted[0]), strict=False)


def one_by_one(judge: Callable[..., Any]) -> Callable[[Pictures, Pictures], Found]:
    """Measures pairs by a function of two batches of one image, which gives one number."""

    def measure(got: Pictures, wanted: Pictures) -> Found:
        batches = lambda pair: (np.asarray(x, np.float32)[None] for x in pair)
        values = [np.asarray(judge(*batches(pair))).item() for pair in pairs(got, wanted)]
        return Found(np.array(values), {"pairs": len(values)})

    return measure


def fingerprints(*paths: str | Path) -> dict[str, str]:
    """The SHA-256 of files by their names."""
    return {Path(path).name: tensors.sha256(path) for path in paths}


def need_files(metric: str, files: Mapping[str, str], **published: str) -> list[str]:
    """The paths of the files that a metric cannot do without, in order.

    Args:
        files: what the user has: a file's role -> its path.
        published: role -> which file it is and where it is published.

    Raises:
        UserError: one is not named, or not there.
    """
    for role, where in published.items():
        path = files.get(role, "")
        if not path or not Path(path).is_file():
            found = f"there is no file {path}" if path else "none is named"
            raise UserError(f"{metric} needs the file {role}, {where}: {found}.")
    return [files[role] for role in published]
