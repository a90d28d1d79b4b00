"""What the networks compute with, by the programs traced from them."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from invertavatar_jax import networks, settings
from tests.encode.weights import draw
from tests.supervise.test_discriminator import convolutions

PAPER, TINY = settings.preset("paper"), settings.preset("tiny")


def inputs(model, name, batch):
    image = lambda side, channels: jnp.zeros((batch, side, side, channels))
    w_plus = jnp.zeros((batch, model.backbone.w_count, model.w_dim))
    neural = model.renderer.neural_resolution
    return {
        "static": (w_plus,),
        "superresolution": (image(neural, 3), image(neural, model.plane_channels), w_plus),
        "latent": (image(model.latent_input, 3), jnp.zeros(model.w_dim)),
        "triplane_unet": (jnp.zeros((2, batch, 256, 256, 6)),),
    }[name]


@pytest.mark.parametrize("name", ["static", "superresolution", "triplane_unet"])
def test_networks_of_the_released_size_need_no_grouped_convolution(name):
    """Grouped convolutions are an order of magnitude slower on CPUs."""
    network = getattr(networks.build(PAPER), name)
    arguments = inputs(PAPER, name, batch=4)
    weights = jax.eval_shape(network.init, jax.random.key(0), *arguments)
    found = list(convolutions(jax.make_jaxpr(network.apply)(weights, *arguments).jaxpr))
    assert len(found) >= 4
    for params in found:
        assert params["feature_group_count"] == params["batch_group_count"] == 1


def test_the_latent_code_in_bfloat16_is_close_to_that_in_float32():
    arguments = inputs(TINY, "latent", batch=1)
    image = jax.random.normal(jax.random.key(0), arguments[0].shape)
    exact, narrow = (networks.build(TINY, compute=kind).latent for kind in networks.COMPUTE)
    weights = draw(exact.init, *arguments)
    first, second = (jax.jit(net.apply)(weights, image, arguments[1]) for net in (exact, narrow))
    assert second.dtype == jnp.float32
    assert 0 < abs(first - second).mean() < 0.02 * first.std()


@pytest.mark.parametrize("name", ["triplane_unet", "texture_unet"])
def test_memory_and_results_are_float32_in_bfloat16(name):
    network = getattr(networks.build(TINY, compute="bfloat16"), name)
    frames = jnp.zeros((2, 1, 32, 32, 8 if name == "triplane_unet" else 7))
    weights = jax.eval_shape(network.init, jax.random.key(0), frames)
    first = jax.eval_shape(network.apply, weights, frames)
    again = jax.eval_shape(network.apply, weights, frames, first[1])
    assert jax.tree.map(lambda x: x.dtype, first) == jax.tree.map(lambda x: x.dtype, again)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(first))


def test_an_unknown_type_to_compute_in_is_an_error():
    with pytest.raises(ValueError, match="got 'float16', expected one of float32, bfloat16"):
        networks.build(TINY, compute="float16")


def test_an_unknown_aggregator_is_an_error():
    sizes = dataclasses.replace(TINY.triplane_decoder, aggregator="lstm")
    with pytest.raises(ValueError, match="got aggregator 'lstm', expected one of conv_gru, "):
        networks.build(dataclasses.replace(TINY, triplane_decoder=sizes))


def test_only_fixed_windows_limit_the_frames_at_once():
    mixed = dataclasses.replace(
        settings.preset("tiny_conv_fusion"),
        triplane_decoder=settings.preset("tiny_att_fusion").triplane_decoder,
    )
    windows = [networks.window(model) for model in (TINY, settings.preset("tiny_window"), mixed)]
    assert windows == [None, None, 3]
    assert networks.window(dataclasses.replace(mixed, one_shot=True)) is None
