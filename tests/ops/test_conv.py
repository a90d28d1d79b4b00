import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.ops import conv

SHAPES = [  # height, width, kernel, stride, padding
    (6, 7, 3, 1, 1),
    (6, 7, 3, 2, 1),
    (7, 8, 3, 2, 0),
    (6, 7, 1, 2, 0),
    (8, 8, 4, 2, 1),
    (5, 5, 1, 1, 1),
]


def scene(height, width, kernel):
    key_x, key_weight = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key_x, (2, 2, height, width, 3))  # two steps of a scan
    return x, jax.random.normal(key_weight, (kernel, kernel, 3, 4)) / kernel


def plain(x, weight, stride, padding):
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(("height", "width", "kernel", "stride", "padding"), SHAPES)
def test_gradients_inside_a_scan_equal_autodiff_outside(height, width, kernel, stride, padding):
    xs, weight = scene(height, width, kernel)

    def scanned(weight, xs):
        add = lambda total, x: (
            total + jnp.sin(conv.conv2d(x, weight, stride, padding)).sum(),
            None,
        )
        return jax.lax.scan(add, 0.0, xs)[0]

    summed = lambda weight, xs: sum(jnp.sin(plain(x, weight, stride, padding)).sum() for x in xs)
    got, expected = (jax.jit(jax.grad(f, (0, 1)))(weight, xs) for f in (scanned, summed))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "kernel", "stride", "padding"), SHAPES[:3])
def test_second_derivatives_equal_autodiff(height, width, kernel, stride, padding):
    xs, weight = scene(height, width, kernel)

    def penalty(weight, convolve):
        score = lambda x: jnp.sin(convolve(x, weight, stride, padding)).sum()
        return (jax.grad(score)(xs[0]) ** 2).sum()

    got, expected = (
        jax.jit(jax.grad(penalty), static_argnums=1)(weight, f) for f in (conv.conv2d, plain)
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_lowers_for_an_accelerator_as_one_convolution_per_operand():
    xs, weight = scene(8, 8, 3)
    f = jax.jit(jax.grad(lambda x, w: conv.conv2d(x, w, 1, 1).sum(), (0, 1)))
    text = f.trace(xs[0], weight).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 2
    assert "stablehlo.dot_general" not in text


def test_weight_gradients_in_pieces_equal_autodiff():
    key_x, key_weight = jax.random.split(jax.random.key(1))
    x = jax.random.normal(key_x, (3, 64, 64, 2))  # a piece holds one sample of this size
    weight = jax.random.normal(key_weight, (3, 3, 2, 32))
    loss = lambda weight, convolve: jnp.sin(convolve(x, weight, 1, 1)).mean()
    got, expected = (jax.grad(loss)(weight, convolve) for convolve in (conv.conv2d, plain))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
