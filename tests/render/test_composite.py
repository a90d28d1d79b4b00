import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from invertavatar_jax.render import composite


def march_by_loop(density, depth):
    """One ray, float64, with the released product of 1 - alpha + 1e-10."""
    weights, through = [], 1.0
    for i in range(len(depth) - 1):
        middle = (float(density[i]) + float(density[i + 1])) / 2 - 1
        rate = max(middle, 0.0) + np.log1p(np.exp(-abs(middle)))
        alpha = 1 - np.exp(-rate * (float(depth[i + 1]) - float(depth[i])))
        weights.append(alpha * through)
        through *= 1 - alpha + 1e-10
    return np.array(weights)


def test_weights_equal_a_loop():
    generator = np.random.default_rng(0)
    density = generator.normal(size=(10, 12)).astype(np.float32) * 8
    depth = np.sort(generator.uniform(2, 3, (10, 12)), -1).astype(np.float32)
    expected = [march_by_loop(*row) for row in zip(density, depth, strict=True)]
    np.testing.assert_allclose(composite.interval_weights(density, depth), expected, atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (3, 8), elements=st.floats(-1e4, 1e4, width=32)))
def test_weights_are_a_share_of_one(density):
    depth = jnp.linspace(0.0, 2.0, 8)[None].repeat(3, 0)
    weights = np.asarray(composite.interval_weights(jnp.asarray(density), depth))
    assert (weights >= 0).all()
    assert (weights.sum(-1) <= 1 + 1e-6).all()


def test_weights_of_samples_sum_colours_as_midpoints_do():
    generator = np.random.default_rng(1)
    weights, colour = generator.uniform(size=(4, 7)), generator.uniform(size=(4, 8, 3))
    middle = (colour[:, 1:] + colour[:, :-1]) / 2
    expected = (weights[..., None] * middle).sum(1)
    own = np.asarray(composite.sample_weights(jnp.asarray(weights, jnp.float32)))
    np.testing.assert_allclose((own[..., None] * colour).sum(1), expected, atol=1e-6)


def test_an_empty_ray_gets_the_depth_given_for_it():
    depth = jnp.linspace(2.0, 3.0, 6)[None]
    weights = composite.interval_weights(jnp.full((1, 6), -50.0), depth)
    assert composite.mean_depth(weights, depth, jnp.float32(3.25)) == 3.25


def test_a_wall_is_seen_at_its_distance():
    depth = jnp.linspace(2.0, 3.0, 101)[None]
    density = jnp.where(depth > 2.5, 1e4, -1e4)
    weights = composite.interval_weights(density, depth)
    np.testing.assert_allclose(composite.mean_depth(weights, depth, 9.0), 2.5, atol=0.02)
    np.testing.assert_allclose(weights.sum(), 1.0, atol=1e-6)


def test_gradients_are_finite_for_empty_opaque_and_flat_rays():
    depth = jnp.stack([jnp.linspace(2.0, 3.0, 6)] * 4 + [jnp.full(6, 2.0)])
    density = jnp.stack([jnp.full(6, x) for x in (-1e4, -90.0, 1e4, 1.0, 5.0)])

    def total(density, depth):
        weights = composite.interval_weights(density, depth)
        return (composite.mean_depth(weights, depth, 3.0) + weights[:, 2]).sum()

    for grad in jax.grad(total, (0, 1))(density, depth):
        assert np.isfinite(grad).all()
