"""Fréchet distance and streaming moments against closed forms and SciPy."""

import numpy as np
import pytest
from scipy import linalg

from invertavatar_jax.metrics import csim, fid

WIDTH = 12


def features(seed, count=80, rank=WIDTH) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(rank, WIDTH))
    return (generator.normal(size=(count, rank)) @ mixing + seed).astype(np.float32)


def of_gaussian(mean, covariance, count=10) -> fid.Moments:
    return fid.Moments(count, np.asarray(mean), np.asarray(covariance) * (count - 1))


@pytest.mark.parametrize("splits", [[], [1], [7, 8, 50], list(range(1, 80))])
def test_moments_do_not_depend_on_the_batches(splits):
    x = features(1)
    moments = fid.of_stream(np.split(x, splits))
    assert moments.count == 80
    exact = x.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(fid.covariance(moments), np.cov(exact, rowvar=False), rtol=1e-11)


def test_merged_moments_are_those_of_both_sets_in_either_order():
    one, other = fid.of_batch(features(1)), fid.of_batch(features(2, 33))
    both = fid.of_batch(np.concatenate([features(1), features(2, 33)]))
    for merged in (fid.merge(one, other), fid.merge(other, one)):
        for got, expected in zip(merged, both, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-9)


def test_gaussians_with_one_basis_have_the_distance_of_the_closed_form():
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
    spreads = generator.uniform(0.1, 3, (2, WIDTH))  # deviations along the same axes
    means = generator.normal(size=(2, WIDTH))
    one, other = (
        of_gaussian(mean, (turn * s**2) @ turn.T) for mean, s in zip(means, spreads, strict=True)
    )
    expected = np.square(means[0] - means[1]).sum() + np.square(spreads[0] - spreads[1]).sum()
    assert fid.frechet_distance(one, other) == pytest.approx(expected, rel=1e-10)


def test_gaussians_on_a_line_have_the_distance_of_the_closed_form():
    one, other = of_gaussian([1.0], [[4.0]]), of_gaussian([4.0], [[0.25]])
    assert fid.frechet_distance(one, other) == pytest.approx(9 + (2 - 0.5) ** 2, rel=1e-12)


@pytest.mark.parametrize("rank", [WIDTH, 5])
def test_the_distance_equals_that_by_scipy_s_root_of_a_matrix(rank):
    one, other = fid.of_batch(features(1)), fid.of_batch(features(3, 60, rank))
    a, b = fid.covariance(one), fid.covariance(other)
    root = linalg.sqrtm(a @ b).real
    apart = np.square(one.mean - other.mean).sum()
    expected = apart + np.trace(a + b - 2 * root)
    for got in (fid.frechet_distance(one, other), fid.frechet_distance(other, one)):
        assert got == pytest.approx(expected, rel=1e-4)


def test_a_set_has_no_distance_to_itself():
    one = fid.of_batch(features(2, rank=5))
    assert fid.frechet_distance(one, one) == pytest.approx(0, abs=1e-5 * np.trace(one.scatter))


def test_too_few_features_are_refused():
    with pytest.raises(ValueError, match="got no features"):
        fid.of_stream([])
    with pytest.raises(ValueError, match="got 1 features"):
        fid.covariance(fid.of_batch(features(1, 1)))


def test_a_metric_of_faces_streams_pictures_and_counts_those_without():
    def look(pictures):
        assert len(pictures) <= fid.FACES
        found = np.array([p.mean((0, 1)) for p in pictures])
        found[found[:, 0] > 0.8] = np.nan
        return found

    network = csim.Network("drawn", {"file": "hash"}, look)
    generator = np.random.default_rng(0)
    sets = [generator.uniform(low, 1, (40, 2, 2, 3)) for low in (-1, -0.5)]
    sets[1][:3] = 0.9
    extractor = fid.of_faces(network)
    score = fid.make(extractor)(iter(sets[0]), fid.summarise(extractor, sets[1]))
    used = [x.mean((1, 2)) for x in (sets[0], sets[1][3:])]
    used = [x[x[:, 0] <= 0.8] for x in used]
    expected = fid.frechet_distance(*map(fid.of_batch, used))
    assert score.name == "fd[drawn]" and score.weights == {"file": "hash"}
    np.testing.assert_allclose(score.values, [expected], rtol=1e-9)
    without = [40 - len(x) for x in used]
    assert without[1] >= 3
    assert list(score.counts.values()) == [len(used[0]), len(used[1]), *without]
