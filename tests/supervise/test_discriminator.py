import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.pure import Pure, pure
from invertavatar_jax.settings import Backbone
from invertavatar_jax.supervise import adversarial
from invertavatar_jax.supervise.discriminator import (
    DualDiscriminator,
    LatentDiscriminator,
)

SMALL = Backbone(16, 64, 8)


def jitted(module) -> Pure:
    """One program to compile in place of one an operation."""
    network = pure(module)
    return Pure(jax.jit(network.init), jax.jit(network.apply))


def count(weights) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(weights["params"]))


@pytest.fixture(scope="module")
def scene():
    """A small discriminator, its weights, and a batch that it can judge."""
    keys = jax.random.split(jax.random.key(0), 4)
    image = jax.random.normal(keys[0], (4, 16, 16, 3))
    neural = jax.random.normal(keys[1], (4, 8, 8, 3))
    camera = jax.random.normal(keys[2], (4, 25))
    network = jitted(DualDiscriminator(SMALL))
    return network, network.init(keys[3], image, neural, camera), (image, neural, camera)


@pytest.mark.parametrize(("landmarks", "parameters"), [(False, 31_359_744), (True, 31_359_936)])
def test_the_released_size_has_exactly_the_released_parameters(landmarks, parameters):
    network = pure(DualDiscriminator())
    below = jnp.zeros((4, 8, 8, 3))
    inputs = jnp.zeros((4, 512, 512, 3)), below, jnp.zeros((4, 25)), below if landmarks else None
    weights = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    assert count(weights) == parameters
    assert not weights["buffers"]


def test_features_are_those_of_each_block_the_largest_first(scene):
    network, weights, inputs = scene
    judgement = network.apply(weights, *inputs)
    shapes = [features.shape for features in judgement.features]
    assert shapes == [(4, 8, 8, 8), (4, 4, 4, 8)]
    assert judgement.logits.shape == (4, 1)


def test_a_picture_of_another_size_is_refused(scene):
    network, weights, (_, neural, camera) = scene
    with pytest.raises(ValueError, match="got pictures of 8 x 8, expected 16 x 16"):
        network.apply(weights, neural, neural, camera)


def test_samples_judged_in_another_order_get_the_same_logits(scene):
    network, weights, inputs = scene
    order = jnp.array([2, 0, 3, 1])
    logits = network.apply(weights, *inputs).logits
    moved = network.apply(weights, *(x[order] for x in inputs)).logits
    np.testing.assert_allclose(moved, logits[order], rtol=1e-4, atol=1e-5)


def test_samples_are_judged_by_how_much_they_differ_from_each_other(scene):
    network, weights, inputs = scene
    repeated = tuple(jnp.broadcast_to(x[:1], x.shape) for x in inputs)
    among_others = network.apply(weights, *inputs).logits[0]
    among_itself = network.apply(weights, *repeated).logits[0]
    assert abs(among_others - among_itself).item() > 1e-4


def test_the_camera_the_neural_image_and_the_landmarks_change_the_judgement(scene):
    network, _, (image, neural, camera) = scene
    inputs = {"neural": neural, "camera": camera, "landmarks": jnp.flip(neural, 1)}
    weights = network.init(jax.random.key(5), image, **inputs)
    logits = network.apply(weights, image, **inputs).logits
    for name in inputs:
        changed = network.apply(weights, image, **inputs | {name: 0 * inputs[name]}).logits
        assert np.abs(changed - logits).max() > 1e-4, name


def test_pictures_of_one_colour_have_finite_second_derivatives(scene):
    network, weights, inputs = scene
    image, neural, camera = (jnp.zeros_like(x) for x in inputs)

    def penalty(weights):
        judge = lambda pictures: network.apply(weights, *pictures, camera).logits
        return adversarial.gradient_penalty(judge, (image, neural)).penalty.mean()

    gradients = jax.jit(jax.grad(penalty))(weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def convolutions(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation.params
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from convolutions(inner)


def test_the_penalty_s_gradient_needs_no_grouped_convolution(scene):
    """Grouped convolutions are an order of magnitude slower on CPUs."""
    network, weights, (image, neural, camera) = scene

    def penalty(weights):
        judge = lambda pictures: network.apply(weights, *pictures, camera).logits
        return adversarial.gradient_penalty(judge, (image, neural)).penalty.mean()

    found = list(convolutions(jax.make_jaxpr(jax.grad(penalty))(weights).jaxpr))
    assert len(found) > 10
    for params in found:
        assert params["feature_group_count"] == params["batch_group_count"] == 1


def test_the_latent_discriminator_has_the_released_parameters():
    network = pure(LatentDiscriminator())
    weights = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 512)))
    assert count(weights) == 788_481


def test_the_latent_discriminator_judges_every_code_of_a_person_alone():
    network = jitted(LatentDiscriminator(width=8))
    w_plus = jax.random.normal(jax.random.key(0), (2, 3, 8))
    weights = network.init(jax.random.key(1), w_plus)
    logits = network.apply(weights, w_plus)
    assert logits.shape == (2, 3, 1)
    np.testing.assert_allclose(
        logits[1, 2], network.apply(weights, w_plus[1, 2:])[0], rtol=1e-5, atol=1e-6
    )
