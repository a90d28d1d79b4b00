"""Layers: what batch normalisation keeps of the batches that it has seen."""

import jax
import numpy as np

from invertavatar_jax.layers import BatchNorm
from invertavatar_jax.pure import pure


def test_batch_statistics_move_the_stored_ones_where_these_may_change():
    x = np.random.default_rng(0).normal(2.0, 3.0, (2, 3, 4, 5)).astype(np.float32)
    network = pure(BatchNorm(batch_statistics=True))
    weights = network.init(jax.random.key(0), x)
    plain = network.apply(weights, x)
    result, moved = network.apply(weights, x, mutable=["buffers"])
    np.testing.assert_array_equal(plain, result)
    flat = x.reshape(-1, 5).astype(np.float64)
    got = moved["buffers"]
    np.testing.assert_allclose(got["running_mean"], 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got["running_var"], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_stored_statistics_do_not_move():
    x = np.ones((2, 3), np.float32)
    network = pure(BatchNorm())
    weights = network.init(jax.random.key(0), x)
    moved = network.apply(weights, x, mutable=["buffers"])[1]
    jax.tree.map(np.testing.assert_array_equal, moved["buffers"], weights["buffers"])
