"""Fréchet distance between two sets of pictures in the features of a network.

It is FID only in the features of the Inception of 2015; in others it is `fd[network]`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Moments(NamedTuple):
    """What a stream of features leaves behind; float64, mergeable in any order."""

    count: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]  # sum of the outer products of the deviations


def of_batch(features: Float[np.ndarray, "n d"]) -> Moments:
    """Moments of a batch."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    away = features - mean
    return Moments(len(features), mean, away.T @ away)


def merge(one: Moments, other: Moments) -> Moments:
    """Moments of both sets together.

    Source: Chan, Golub and LeVeque 1979 (pairwise updating).
    """
    count = one.count + other.count
    apart = other.mean - one.mean
    between = np.outer(apart, apart) * (one.count * other.count / count)
    mean = one.mean + apart * (other.count / count)
    return Moments(count, mean, one.scatter + other.scatter + between)


def of_stream(batches: Iterable[Float[np.ndarray, "n d"]]) -> Moments:
    """Moments of all batches, of which one at a time is in memory.

    Raises:
        ValueError: there is no feature.
    """
    total: Moments | None = None
    for batch in batches:
        if len(batch):
            found = of_batch(batch)
            total = found if total is None else merge(total, found)
    if total is None:
        raise ValueError("got no features, expected two or more")
    return total


def covariance(moments: Moments) -> Float[np.ndarray, "d d"]:
    """The unbiased covariance.

    Raises:
        ValueError: there are fewer than two features.
    """
    if moments.count < 2:
        raise ValueError(f"got {moments.count} features, expected two or more")
    return moments.scatter / (moments.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """The squared Fréchet distance of Gaussians with these moments.

    The trace of the root of the covariances' product is the sum of the roots of its
    eigenvalues, which are those of the symmetric product root(A) B root(A): real and, but for
    rounding, not negative, so that nothing complex appears.

    Source: Heusel et al. 2017, equation 6.
    """
    values, vectors = np.linalg.eigh(covariance(one))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = root @ covariance(other) @ root
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
    apart = one.mean - other.mean
    spread = np.trace(covariance(one)) + np.trace(covariance(other))
    return float(max(apart @ apart + spread - 2 * shared, 0.0))
