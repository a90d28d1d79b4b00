import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.ops import resample, row_blocks
from invertavatar_jax.ops.conv import conv2d

RANDOM = np.random.default_rng(6)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(row_blocks, "_BLOCK_PIXELS", 16)  # several blocks of a small image


def draw(*shape):
    return RANDOM.standard_normal(shape, np.float32)


@pytest.mark.parametrize("k, stride", [(3, 1), (3, 2), (1, 2)])
def test_blocks_of_rows_convolve_as_the_whole_image(k, stride):
    x, weight = draw(2, 9, 7, 5), draw(k, k, 5, 4)
    blocks = jax.jit(row_blocks.correlate, static_argnums=(2, 3))
    y = blocks(x, weight, stride, k // 2)
    np.testing.assert_allclose(y, conv2d(x, weight, stride, k // 2), atol=1e-5)


def test_blocks_of_rows_double_as_the_whole_image():
    x, weight = draw(2, 6, 7, 5), draw(3, 3, 5, 4)
    y = jax.jit(row_blocks.double)(x, weight)
    np.testing.assert_allclose(y, resample.conv2d_up(x, weight), atol=1e-5)


@pytest.mark.parametrize("function", [lambda x, w: conv2d(x, w, 1, 1), resample.conv2d_up])
def test_bfloat16_rounds_operands_and_result_alone(function):
    rounded = lambda x: jnp.asarray(x).astype(jnp.bfloat16)
    x, weight = rounded(draw(1, 8, 8, 32)), rounded(draw(3, 3, 32, 4))
    exact = function(x.astype(jnp.float32), weight.astype(jnp.float32))
    y = jax.jit(function)(x, weight)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


def test_large_images_have_the_gradients_of_small_ones(monkeypatch):
    x, weight, target = draw(1, 4, 4, 2), draw(3, 3, 2, 2), draw(1, 8, 8, 2)

    def step(weight, x):
        loss = lambda weight, x: ((resample.conv2d_up(x, weight) - target) ** 2).mean()
        return weight - jax.grad(loss)(weight, x), jax.grad(loss, 1)(weight, x)

    run = lambda: jax.jit(lambda w: jax.lax.scan(step, w, jnp.stack([x, 2 * x])))(weight)
    expected = run()
    monkeypatch.setattr(resample, "_LARGE", 16)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), run(), expected)
