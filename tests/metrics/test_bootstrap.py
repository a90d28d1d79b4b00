"""Intervals of means over identities."""

import numpy as np
import pytest
from scipy.stats import binom

from invertavatar_jax.metrics import bootstrap


def test_the_interval_of_zeros_and_ones_is_that_of_the_binomial():
    values = np.arange(40) % 2
    found = bootstrap.interval(values, range(40), seed=0, resamples=20_000)
    expected = binom.ppf([0.025, 0.975], 40, 0.5) / 40
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-12)
    assert found.mean == 0.5


def test_identities_weigh_alike_however_many_frames_they_have():
    found = bootstrap.interval(np.array([1.0, 1, 1, 5]), list("aaab"), seed=0)
    assert found.mean == 3
    assert (found.low, found.high) == (1, 5)
    assert (found.identities, found.values, found.missing) == (2, 4, 0)


def test_one_seed_gives_one_interval():
    values, people = np.random.default_rng(0).normal(size=30), np.arange(30) // 3
    assert bootstrap.interval(values, people, seed=1) == bootstrap.interval(values, people, seed=1)
    assert bootstrap.interval(values, people, seed=1) != bootstrap.interval(values, people, seed=2)


def test_the_interval_covers_the_mean_in_95_of_100_worlds_if_frames_stay_together():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 20)
    clustered, alone, worlds = 0, 0, 200
    for world in range(worlds):
        values = generator.normal(size=30)[people] + 0.3 * generator.normal(size=600)
        for identities in (people, np.arange(600)):
            found = bootstrap.interval(values, identities, seed=world, resamples=300)
            covered = found.low <= 0 <= found.high
            clustered += covered and identities is people
            alone += covered and identities is not people
    assert 0.90 <= clustered / worlds <= 0.98
    assert alone / worlds < 0.5  # frame by frame: what clustering is for


def test_what_was_not_measured_is_counted_and_in_no_mean():
    found = bootstrap.interval(np.array([1.0, np.nan, 3, np.nan]), list("abcb"), seed=0)
    assert (found.mean, found.identities, found.values, found.missing) == (2, 2, 2, 2)


def test_one_identity_has_a_mean_and_no_interval():
    found = bootstrap.interval(np.array([1.0, 3.0]), ["a", "a"], seed=0)
    assert found.mean == 2 and np.isnan(found.low) and np.isnan(found.high)
    nothing = bootstrap.interval(np.array([np.nan]), ["a"], seed=0)
    assert np.isnan(nothing.mean) and nothing.missing == 1


def test_values_without_identities_are_refused():
    with pytest.raises(ValueError, match="3 values of 2 identities"):
        bootstrap.interval(np.zeros(3), ["a", "b"], seed=0)
