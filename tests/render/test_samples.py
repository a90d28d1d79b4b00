import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.render import samples

GENERATOR = np.random.default_rng(0)


def test_even_samples_include_both_ends():
    depth = samples.stratified(jnp.float32(2.0), jnp.float32(3.0), 5)
    np.testing.assert_allclose(depth, [2, 2.25, 2.5, 2.75, 3])


def test_jitter_keeps_samples_in_order():
    jitter = jax.random.uniform(jax.random.key(0), (20, 7))
    depth = samples.stratified(jnp.float32(2.0), jnp.float32(3.0), 7, jitter)
    assert (np.diff(depth) > 0).all()
    assert depth.min() >= 2.0 and depth.max() < 3.0 + 1 / 6


def invert_by_loop(knots, weights, u):
    """One ray, float64: walks along the distribution."""
    share = weights.astype(np.float64) + samples.PDF_EPSILON
    share = share / share.sum()
    result = []
    for x in u:
        before = 0.0
        for i, part in enumerate(share):
            if x < before + part or i == len(share) - 1:
                break
            before += part
        inside = (x - before) / part
        result.append(knots[i] + inside * (knots[i + 1] - knots[i]))
    return np.array(result)


def test_inverted_distribution_equals_a_loop():
    knots = np.sort(GENERATOR.uniform(size=(6, 9)), -1).astype(np.float32)
    weights = GENERATOR.uniform(0.05, 1, (6, 8)).astype(np.float32)
    u = np.sort(GENERATOR.uniform(0, 0.999, (6, 12)), -1).astype(np.float32)
    expected = [invert_by_loop(*row) for row in zip(knots, weights, u, strict=True)]
    np.testing.assert_allclose(samples.invert_cdf(knots, weights, u), expected, atol=1e-5)


def test_a_distribution_without_weight_is_uniform():
    u = jnp.linspace(0.0, 1.0, 5)[None]
    got = samples.invert_cdf(jnp.linspace(0.0, 1.0, 9)[None], jnp.zeros((1, 8)), u)
    np.testing.assert_allclose(got, u, atol=1e-6)


def test_fine_samples_gather_where_the_weight_is():
    depth = jnp.linspace(2.0, 3.0, 12)[None]
    weights = jnp.zeros((1, 11)).at[0, 5].set(1.0)
    fine = samples.importance(depth, weights, jnp.linspace(0.0, 1.0, 16)[None])
    assert (np.diff(fine) >= 0).all()
    # half an interval nearer than the weight, as released, and one neighbour on each side
    near, far = 2 + 3.5 / 11, 2 + 6.5 / 11
    assert ((fine > near) & (fine < far)).sum() >= 12


def test_fine_samples_carry_no_gradient():
    def total(depth, weights):
        return samples.importance(depth, weights, jnp.linspace(0.0, 1.0, 4)[None]).sum()

    grads = jax.grad(total, (0, 1))(jnp.linspace(2.0, 3.0, 6)[None], jnp.full((1, 5), 0.1))
    assert not any(np.any(grad) for grad in grads)


@pytest.mark.parametrize("ties", [False, True])
def test_merging_equals_a_stable_sort(ties):
    first = np.sort(GENERATOR.uniform(size=(8, 5)), -1).astype(np.float32)
    second = np.sort(GENERATOR.uniform(size=(8, 7)), -1).astype(np.float32)
    if ties:
        first, second = np.round(first, 1), np.round(second, 1)
    both = np.concatenate([first, second], -1)
    order = np.argsort(both, -1, kind="stable")
    rank = samples.merge_ranks(first, second)
    np.testing.assert_array_equal(rank, np.argsort(order, -1))
    np.testing.assert_array_equal(samples.to_order(both, rank), np.sort(both, -1))
    np.testing.assert_array_equal(samples.from_order(np.sort(both, -1), rank), both)


def test_moving_to_an_order_and_back_has_the_gradient_of_indexing():
    rank = samples.merge_ranks(jnp.array([[1.0, 4.0]]), jnp.array([[0.0, 2.0, 5.0]]))
    x, scale = jnp.arange(5.0)[None], jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    for ours, index in ((samples.to_order, jnp.argsort(rank)), (samples.from_order, rank)):
        got = jax.grad(lambda x, ours=ours: (ours(x, rank) * scale).sum())(x)
        plain = jax.grad(lambda x, i=index: (jnp.take_along_axis(x, i, -1) * scale).sum())(x)
        np.testing.assert_array_equal(got, plain)
