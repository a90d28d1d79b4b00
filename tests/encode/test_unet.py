import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import settings
from invertavatar_jax.aggregate.conv_gru import ConvGRU
from invertavatar_jax.encode import unet
from invertavatar_jax.pure import pure
from tests.encode.weights import draw

TINY = settings.preset("tiny")
SIDE = 32
ENCODERS = {"texture": unet.texture_encoder, "triplane": unet.triplane_encoder}


@pytest.fixture(scope="module", params=ENCODERS)
def scene(request):
    """A recurrent encoder as a function, its weights, and four frames of two people."""
    frames = jax.random.normal(jax.random.key(0), (4, 2, SIDE, SIDE, 7))
    network = pure(ENCODERS[request.param](TINY, ConvGRU))
    weights = draw(network.init, frames)
    return request.param, jax.jit(network.apply), weights, frames


def test_a_fresh_encoder_changes_nothing(scene):
    name, _, _, frames = scene
    network = ENCODERS[name](TINY, ConvGRU)
    key = jax.random.key(1, impl="unsafe_rbg")  # its drawing compiles five times faster
    (output, _), _ = jax.jit(network.init_with_output)(key, frames[:1])
    if name == "texture":
        assert [tuple(x.shape[1:3]) for x in output] == [(4, 4), (4, 4), (8, 8), (16, 16)]
        assert all(not np.any(x) for x in output)
    else:
        assert sorted(output) == [8, 16, 32]
        for scale, shift in output.values():
            assert np.all(scale == 1) and not np.any(shift)


def test_outputs_have_the_channels_of_the_features_they_change(scene):
    name, apply, weights, frames = scene
    output, _ = jax.eval_shape(apply, weights, frames)
    channels = TINY.backbone.channels
    if name == "texture":
        expected = [TINY.plane_channels, channels(4), channels(8), channels(16)]
        assert [x.shape[-1] for x in output] == expected
    else:
        for resolution, modulation in output.items():
            side = channels(resolution) // 2
            assert modulation.shape == (2, 2, resolution, resolution, side)


def test_the_memory_has_one_leaf_per_level_whatever_the_number_of_frames(scene):
    _, apply, weights, frames = scene
    expected = [(2, 2, 2, 16), (2, 4, 4, 16), (2, 8, 8, 8), (2, 16, 16, 8)]
    for count in (1, 4):
        _, memory = jax.eval_shape(apply, weights, frames[:count])
        assert [leaf.shape for leaf in memory] == expected


def test_people_in_a_batch_do_not_influence_each_other(scene):
    _, apply, weights, frames = scene
    together, _ = apply(weights, frames)
    alone, _ = apply(weights, frames[:, 1:])
    last = lambda x: x[:, 1:] if x.ndim == 5 else x[1:]
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(last(ours), theirs, rtol=1e-4, atol=1e-5)


def test_splitting_a_chunk_changes_all_levels_but_the_deepest(scene):
    """A level reads only the final state of the level below. SPEC section 9.2."""
    _, apply, weights, frames = scene
    _, once = apply(weights, frames)
    _, first = apply(weights, frames[:2])
    _, twice = apply(weights, frames[2:], first)
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-4, atol=1e-5)
    for got, other in zip(once[1:], twice[1:], strict=True):
        assert not np.allclose(got, other, rtol=1e-3, atol=1e-3)
    assert not np.allclose(first[0], twice[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ENCODERS)
def test_with_batch_statistics_only_the_trunk_reads_stored_ones(name):
    frames = jax.random.normal(jax.random.key(0), (3, 1, SIDE, SIDE, 7))
    network = pure(ENCODERS[name](TINY, ConvGRU, batch_statistics=True))
    weights = draw(network.init, frames)

    def spoiled(decoder: bool):
        buffers = {
            key: jax.tree.map(lambda leaf: leaf + 1, tree)
            if key.startswith("up") == decoder
            else tree
            for key, tree in weights["buffers"].items()
        }
        return weights | {"buffers": buffers}

    run = lambda weights: jax.tree.leaves(jax.jit(network.apply)(weights, frames))
    expected, decoder, trunk = run(weights), run(spoiled(True)), run(spoiled(False))
    assert all(np.array_equal(a, b) for a, b in zip(expected, decoder, strict=True))
    assert not any(np.allclose(a, b) for a, b in zip(expected, trunk, strict=True))


def test_every_parameter_outside_the_excitation_has_an_effect(scene):
    name, _, weights, frames = scene
    network = pure(ENCODERS[name](TINY, ConvGRU))

    def loss(params):
        output, _ = network.apply(weights | {"params": params}, frames)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(output))

    grads, _ = jax.tree_util.tree_flatten_with_path(jax.jit(jax.grad(loss))(weights["params"]))
    for path, grad in grads:
        key = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), key
        assert np.any(grad) or "res_layer_5" in key, key


@pytest.mark.parametrize("name", ENCODERS)
def test_a_one_shot_encoder_refuses_a_second_frame(name):
    network = pure(ENCODERS[name](TINY))
    with pytest.raises(ValueError, match="got 2 frames, expected 1"):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((2, 1, SIDE, SIDE, 7)))


@pytest.mark.parametrize("name", ENCODERS)
def test_larger_frames_are_pooled_first(name):
    network = pure(ENCODERS[name](TINY))
    large = jax.random.normal(jax.random.key(0), (1, 1, 2 * SIDE, 2 * SIDE, 7))
    small = large.reshape(1, 1, SIDE, 2, SIDE, 2, 7).mean((3, 5))
    weights = draw(network.init, small)
    pooled, given = (jax.jit(network.apply)(weights, x) for x in (large, small))
    for ours, theirs in zip(jax.tree.leaves(pooled), jax.tree.leaves(given), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_transformers_change_what_a_one_shot_encoder_says(name):
    sizes = dataclasses.replace(
        TINY.texture_decoder, vit_depths=(1, 0, 2, 1), vit_channels=8, vit_heads=2
    )
    model = dataclasses.replace(TINY, texture_decoder=sizes, triplane_decoder=sizes)
    frame = jax.random.normal(jax.random.key(0), (1, 1, SIDE, SIDE, 7))
    network = pure(ENCODERS[name](model))
    weights = draw(network.init, frame)
    blocks = [name for name in weights["params"]["up3"]["transformer"] if "ViT" in name]
    assert sorted(blocks) == ["ViT_0", "ViT_1"]
    run = jax.jit(network.apply)
    params = weights["params"]
    level = params["up1"] | {"transformer": jax.tree.map(np.negative, params["up1"]["transformer"])}
    changed = weights | {"params": params | {"up1": level}}
    one, other = (jax.tree.leaves(run(each, frame)[0]) for each in (weights, changed))
    assert not any(np.allclose(a, b) for a, b in zip(one, other, strict=True))


def test_as_many_transformers_as_levels_are_expected():
    sizes = dataclasses.replace(TINY.texture_decoder, vit_depths=(1, 1))
    network = pure(unet.texture_encoder(dataclasses.replace(TINY, texture_decoder=sizes)))
    with pytest.raises(ValueError, match="as many vit_depths as channels"):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 1, SIDE, SIDE, 7)))


def test_offsets_alone_scale_nothing():
    model = dataclasses.replace(TINY, triplane_offsets=True)
    network, frames = pure(unet.triplane_encoder(model, ConvGRU)), jnp.zeros((1, 1, SIDE, SIDE, 6))
    weights = draw(network.init, frames)
    assert not any("scale" in name for name in weights["params"])
    output, _ = jax.jit(network.apply)(weights, frames)
    assert all(np.all(scale == 1) and np.any(shift) for scale, shift in output.values())
