import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.pure import Pure, pure
from invertavatar_jax.settings import Trunk
from invertavatar_jax.supervise import identity


@pytest.fixture(scope="module")
def small():
    network = pure(identity.IdentityNet(Trunk(channels=(4, 8), units=(1, 2)), features=6))
    weights = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return Pure(network.init, jax.jit(network.apply)), weights


def test_the_network_has_exactly_the_released_parameters():
    network = pure(identity.IdentityNet())
    weights = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 112, 112, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(weights["params"])) == 43_797_696


def test_the_crop_holds_the_face_and_nothing_around_it():
    image = np.ones((1, 256, 256, 3), np.float32)
    image[:, 35:223, 32:220] = 0
    assert np.abs(identity.crop_face(jnp.asarray(image))).max() == 0
    image[:, 35:223, 32:220] = np.arange(188, dtype=np.float32)[:, None, None]
    rows = identity.crop_face(jnp.asarray(image))[0, :, 50, 0]
    # cell i of 112 holds source rows floor(188 i / 112) to ceil(188 (i + 1) / 112)
    expected = [np.arange(188 * i // 112, -(-188 * (i + 1) // 112)).mean() for i in range(112)]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_a_larger_picture_is_cropped_at_the_same_place():
    image = jax.random.uniform(jax.random.key(0), (1, 256, 256, 3))
    enlarged = image.repeat(2, 1).repeat(2, 2)
    small, large = identity.crop_face(image), identity.crop_face(enlarged)
    assert large.shape == (1, 112, 112, 3)
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9


def test_features_have_length_1(small):
    network, weights = small
    face = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))
    features = network.apply(weights, face)
    np.testing.assert_allclose(np.square(features).sum(-1), 1.0, rtol=1e-5)


def test_the_loss_is_0_for_the_same_features_and_2_for_opposite_ones(small):
    network, weights = small
    features = network.apply(weights, jax.random.normal(jax.random.key(1), (3, 8, 8, 3)))
    assert identity.identity_loss(features, features) == pytest.approx(0, abs=1e-6)
    assert identity.identity_loss(features, -features) == pytest.approx(2, rel=1e-6)


def test_the_gradient_is_finite_at_features_of_length_0(small):
    network, weights = small
    silent = jax.tree.map(jnp.zeros_like, weights)
    face = jnp.ones((1, 8, 8, 3))
    loss = lambda face: identity.identity_loss(network.apply(silent, face), jnp.ones((1, 6)))
    assert np.isfinite(jax.jit(jax.grad(loss))(face)).all()
