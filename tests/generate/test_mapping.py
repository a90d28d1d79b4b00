import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.generate.mapping import Mapping
from invertavatar_jax.pure import pure

NETWORK = pure(Mapping(w_dim=8, w_count=6))


@pytest.fixture(scope="module")
def scene():
    keys = jax.random.split(jax.random.key(0), 4)
    z, camera = jax.random.normal(keys[0], (2, 5)), jax.random.normal(keys[1], (2, 25))
    weights = NETWORK.init(keys[2], z, camera)
    weights["buffers"]["w_avg"] = jax.random.normal(keys[3], (8,))
    return weights, z, camera


def test_every_layer_gets_the_same_w(scene):
    w_plus = NETWORK.apply(*scene)
    assert w_plus.shape == (2, 6, 8)
    np.testing.assert_array_equal(w_plus, np.broadcast_to(w_plus[:, :1], w_plus.shape))


def test_the_length_of_z_does_not_matter(scene):
    weights, z, camera = scene
    once, thrice = (NETWORK.apply(weights, factor * z, camera) for factor in (1, 3))
    np.testing.assert_allclose(once, thrice, rtol=1e-4, atol=1e-5)


def test_truncation_goes_from_w_to_the_mean(scene):
    weights, z, camera = scene
    w_plus, mean = NETWORK.apply(*scene), weights["buffers"]["w_avg"]
    none = NETWORK.apply(weights, z, camera, truncation=0.0)
    np.testing.assert_allclose(none, jnp.broadcast_to(mean, none.shape), rtol=1e-6)
    half = NETWORK.apply(weights, z, camera, truncation=0.5, cutoff=2)
    np.testing.assert_array_equal(half[:, 2:], w_plus[:, 2:])
    np.testing.assert_allclose(half[:, :2], 0.5 * (w_plus[:, :2] + mean), rtol=1e-5, atol=1e-6)


def test_a_zero_camera_has_finite_gradients(scene):
    weights, z, camera = scene
    loss = lambda camera: NETWORK.apply(weights, z, camera).sum()
    assert np.isfinite(jax.grad(loss)(jnp.zeros_like(camera))).all()
