"""How far a mean over people would move if other people had been filmed."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over identities and its percentile interval."""

    mean: float  # NaN: nothing was measured
    low: float  # NaN: of one identity there is no interval
    high: float
    identities: int  # with at least one value
    values: int  # measured
    missing: int  # NaN among the values: not measured, and in no mean


def interval(
    values: Float[np.ndarray, " n"],
    identities: Sequence[Hashable],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """The mean of the identities' means, each of equal weight, and its bootstrap interval.

    Whole identities are drawn with replacement: frames of one person are alike, and drawn one
    by one they would make the interval far too narrow. For the difference of two systems give
    the differences of their values, frame by frame.

    Args:
        values: of frames; NaN where a frame could not be measured.
        identities: whom each frame shows.

    Raises:
        ValueError: there is not one identity for each value.
    """
    values = np.asarray(values, np.float64)
    if len(values) != len(identities):
        raise ValueError(f"got {len(values)} values of {len(identities)} identities")
    frames: dict[Hashable, list[float]] = {}
    for value, identity in zip(values, identities, strict=True):
        if np.isfinite(value):
            frames.setdefault(identity, []).append(float(value))
    means = np.array([np.mean(of_one) for of_one in frames.values()])
    measured = int(np.isfinite(values).sum())
    counts = (len(means), measured, len(values) - measured)
    nan = float("nan")
    if len(means) < 2:
        return Interval(float(means[0]) if len(means) else nan, nan, nan, *counts)
    drawn = np.random.default_rng(seed).integers(0, len(means), (resamples, len(means)))
    outside = 50 * (1 - level)
    low, high = np.percentile(means[drawn].mean(1), (outside, 100 - outside))
    return Interval(float(means.mean()), float(low), float(high), *counts)
