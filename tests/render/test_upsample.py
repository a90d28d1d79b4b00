import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.pure import pure
from invertavatar_jax.render.upsample import SuperResolution
from invertavatar_jax.settings import Renderer

SIZES = Renderer(neural_resolution=8, image_resolution=32, superresolution_channels=(6, 4))


def shapes(sizes: Renderer, side: int = 8):
    network = pure(SuperResolution(sizes))
    inputs = jnp.zeros((2, side, side, 3)), jnp.zeros((2, side, side, 5)), jnp.zeros((2, 6, 7))
    run = lambda: network.apply(network.init(jax.random.key(0), *inputs), *inputs)
    return jax.eval_shape(run).shape


@pytest.mark.parametrize("side", [8, 16, 32])
def test_the_image_has_the_output_resolution(side):
    sizes = dataclasses.replace(SIZES, image_resolution=side)
    assert shapes(sizes) == (2, side, side, 3)
    assert shapes(sizes, side=4) == (2, side, side, 3)


def test_a_resolution_that_two_blocks_cannot_reach_is_an_error():
    with pytest.raises(ValueError, match="got 64, expected 1, 2 or 4 times"):
        shapes(dataclasses.replace(SIZES, image_resolution=64))


def test_only_the_last_style_is_read():
    keys = jax.random.split(jax.random.key(0), 4)
    rgb, features = (jax.random.normal(k, (1, 8, 8, c)) for k, c in zip(keys, (3, 5), strict=False))
    w_plus = jax.random.normal(keys[2], (1, 6, 7))
    network = pure(SuperResolution(SIZES))
    weights = jax.jit(network.init)(keys[3], rgb, features, w_plus)
    run = jax.jit(network.apply)
    image = run(weights, rgb, features, w_plus)
    np.testing.assert_array_equal(run(weights, rgb, features, w_plus.at[:, :-1].add(1.0)), image)
    assert np.abs(run(weights, rgb, features, w_plus.at[:, -1].add(1.0)) - image).max() > 0.01


def test_the_released_size_has_the_papers_parameter_count():
    network = pure(SuperResolution(Renderer()))
    inputs = [jnp.zeros((1, 128, 128, c)) for c in (3, 32)] + [jnp.zeros((1, 14, 512))]
    params = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_649_578
