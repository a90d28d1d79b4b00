"""Push-pull filling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.ops.fill import push_pull

fill = jax.jit(push_pull)


@pytest.mark.parametrize("shape", [(16, 16), (13, 21), (1, 5)])
def test_known_pixels_stay_and_others_lie_between_them(shape):
    rng = np.random.default_rng(0)
    values = rng.uniform(2, 3, (2, *shape, 3)).astype(np.float32)
    known = (rng.random((2, *shape, 1)) < 0.3).astype(np.float32)
    known[:, 0, 0] = 1
    hidden = np.where(known > 0, values, np.nan).astype(np.float32)  # must not be read
    got = np.asarray(fill(hidden, known))
    where = np.broadcast_to(known > 0, values.shape)
    np.testing.assert_array_equal(got[where], values[where])
    for i in range(2):
        for c in range(3):
            inside = values[i, ..., c][known[i, ..., 0] > 0]
            assert inside.min() - 1e-5 <= got[i, ..., c].min()
            assert got[i, ..., c].max() <= inside.max() + 1e-5


def test_a_constant_fills_everything_and_nothing_gives_zero():
    known = jnp.zeros((8, 8, 1)).at[3, 5].set(1.0)
    np.testing.assert_allclose(fill(jnp.full((8, 8, 2), 0.7), known), 0.7, rtol=1e-6)
    np.testing.assert_array_equal(fill(jnp.ones((8, 8, 2)), jnp.zeros((8, 8, 1))), 0)


def test_the_nearer_side_counts_more():
    known = jnp.zeros((32, 32, 1)).at[:, 0].set(1.0).at[:, -1].set(1.0)
    values = jnp.zeros((32, 32, 1)).at[:, -1].set(1.0)
    row = np.asarray(fill(values, known))[16, :, 0]
    assert row[2] < 0.3 and row[-3] > 0.7
    assert np.all(np.diff(row) >= -0.05)


def test_gradients_are_finite_where_nothing_is_known():
    loss = jax.jit(lambda v: (push_pull(v, jnp.zeros((8, 8, 1))) ** 2).sum())
    gradient = jax.jit(jax.grad(loss))(jnp.ones((8, 8, 2)))
    assert np.all(np.isfinite(gradient))
