import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import settings
from invertavatar_jax.encode import latent
from invertavatar_jax.pure import pure
from tests.encode.weights import draw

TINY = settings.preset("tiny")


@pytest.fixture(scope="module")
def scene():
    """A tiny encoder as a function, its weights, an image and an average code."""
    key_image, key_average = jax.random.split(jax.random.key(0))
    image = jax.random.uniform(key_image, (2, 64, 64, 3), minval=-1.0)
    average = jax.random.normal(key_average, (TINY.w_dim,))
    encoder = pure(latent.latent_encoder(TINY))
    return jax.jit(encoder.apply), draw(encoder.init, image, average), image, average


def test_the_average_code_is_added_to_every_layer(scene):
    apply, weights, image, average = scene
    codes = apply(weights, image, average)
    assert codes.shape == (2, TINY.backbone.w_count, TINY.w_dim)
    without = apply(weights, image, jnp.zeros_like(average))
    np.testing.assert_allclose(codes, without + average, rtol=1e-5, atol=1e-6)


def test_a_layer_whose_delta_is_zero_gets_the_first_layers_code(scene):
    apply, weights, image, average = scene
    silent = jax.tree.map(jnp.zeros_like, weights["params"]["styles_4"])
    weights = weights | {"params": weights["params"] | {"styles_4": silent}}
    codes = apply(weights, image, average)
    np.testing.assert_array_equal(codes[:, 4], codes[:, 0])
    assert not np.allclose(codes[:, 3], codes[:, 0])


def test_every_parameter_outside_the_excitation_has_an_effect_on_the_codes(scene):
    """The excitation's one hidden unit may be off at this size."""
    apply, weights, image, average = scene
    loss = lambda params: (apply(weights | {"params": params}, image, average) ** 2).sum()
    grads, _ = jax.tree_util.tree_flatten_with_path(jax.jit(jax.grad(loss))(weights["params"]))
    for path, grad in grads:
        name = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), name
        assert np.any(grad) or "res_layer_5" in name, name


@pytest.mark.parametrize("name", ["small", "tiny", "paper"])
def test_the_finer_a_layer_the_deeper_its_block(name):
    model = settings.preset(name)
    inputs = jnp.zeros((1, model.latent_input, model.latent_input, 3)), jnp.zeros(model.w_dim)
    init = pure(latent.latent_encoder(model)).init
    params = jax.eval_shape(init, jax.random.key(0), *inputs)["params"]
    side = model.latent_input // model.latent_trunk.patch // 2 ** len(model.latent_trunk.channels)
    for layer in range(model.backbone.w_count):
        pyramid_level = 0 if layer < 3 else 1 if layer < 7 else 2
        convolutions = [key for key in params[f"styles_{layer}"] if key.startswith("convs")]
        assert len(convolutions) == np.log2(side) + pyramid_level


def test_features_that_cannot_be_halved_to_one_pixel_are_refused():
    model = dataclasses.replace(TINY, latent_input=48)
    encoder = pure(latent.latent_encoder(model))
    with pytest.raises(ValueError, match=r"got features of \(3, 3\), expected a square power"):
        inputs = jnp.zeros((1, 48, 48, 3)), jnp.zeros(model.w_dim)
        jax.eval_shape(encoder.init, jax.random.key(0), *inputs)


def test_a_trunk_with_too_few_stages_is_refused():
    model = dataclasses.replace(TINY, latent_trunk=settings.Trunk((8, 8), (1, 1)))
    with pytest.raises(ValueError, match="expected at least three stages"):
        latent.latent_encoder(model)
