"""Fréchet distance between two sets of pictures in the features of a network.

It is FID only in the features of the Inception of 2015; in others it is `fd[network]`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.metrics import csim
from invertavatar_jax.metrics.metric import LOWER, Found, Metric

FACES = 16  # pictures that are searched for faces at once


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


class Extractor(NamedTuple):
    """A stream of pictures -> features, a batch at a time."""

    name: str  # of the distance between its features: "fid", "fd[dlib]"
    weights: dict[str, str]  # file -> SHA-256
    batches: Callable[[Iterable[np.ndarray]], Iterator[Float[np.ndarray, "n d"]]]


def of_faces(network: csim.Network) -> Extractor:
    """Features of a face recognition network; NaN where a picture shows no face."""

    def batches(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        stream = iter(pictures)
        while batch := list(itertools.islice(stream, FACES)):
            yield network.features(batch)

    return Extractor(f"fd[{network.name}]", network.weights, batches)


class Stream(NamedTuple):
    """Moments of a stream of pictures, to keep where a set is compared more than once."""

    moments: Moments
    without_face: int  # pictures that gave no features


def summarise(extractor: Extractor, pictures: Iterable[np.ndarray]) -> Stream:
    """Moments of the features of all pictures, which are read once and not kept.

    Raises:
        ValueError: no picture has features.
    """
    missing = 0

    def measured() -> Iterator[np.ndarray]:
        nonlocal missing
        for batch in extractor.batches(pictures):
            known = np.isfinite(batch).all(1)
            missing += int((~known).sum())
            yield batch[known]

    return Stream(of_stream(measured()), missing)


def make(extractor: Extractor) -> Metric:
    """The distance of (generated pictures, real pictures), any iterables; one value.

    Either may be a Stream of `summarise`. The value falls with the number of pictures: the
    paper's are of 50,000 generated ones, and only figures of like numbers compare.

    Source: paper section 4.2.1.
    """
    summary = lambda x: x if isinstance(x, Stream) else summarise(extractor, x)

    def measure(generated: Iterable[np.ndarray], real: Iterable[np.ndarray]) -> Found:
        sets = {"generated": summary(generated), "real": summary(real)}
        distance = frechet_distance(*(found.moments for found in sets.values()))
        counts = {name: found.moments.count for name, found in sets.items()}
        counts |= {f"{name}_without_face": found.without_face for name, found in sets.items()}
        return Found(np.array([distance]), counts)

    return Metric(extractor.name, "", LOWER, extractor.weights, measure)
