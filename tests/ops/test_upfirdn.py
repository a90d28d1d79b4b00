import jax
import numpy as np
import pytest

from invertavatar_jax.ops import upfirdn

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(1)
ROWS_2D = RANDOM.normal(size=(3, 4))
CASES = [
    (ROWS_2D, {}),
    (ROWS_2D, {"flip": True, "gain": 1.7}),
    (ROWS_2D, {"up": 2, "padding": (2, 1, 3, 0)}),
    (ROWS_2D, {"up": 3, "down": 2, "padding": (-1, 2, 1, -2)}),
    (upfirdn.BINOMIAL, {"up": 2, "padding": (2, 1, 2, 1), "gain": 4.0}),
    (upfirdn.BINOMIAL, {"down": 2, "padding": (1, 1, 1, 1)}),
    ((0.5, 0.2, 0.3), {"padding": (1, 1, 1, 1), "flip": True}),
]


def by_loops(x, taps, up=1, down=1, padding=(0, 0, 0, 0), flip=False, gain=1.0):
    """(h, w) -> (p, q): zeros between, pad or crop, correlate, decimate."""
    taps = np.asarray(taps)
    kernel = np.outer(taps, taps) if taps.ndim == 1 else taps
    kernel = kernel if flip else kernel[::-1, ::-1]
    spread = np.zeros((x.shape[0] * up, x.shape[1] * up))
    spread[::up, ::up] = x
    left, right, top, bottom = padding
    spread = np.pad(spread, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    height, width = spread.shape
    spread = spread[max(-top, 0) : height - max(-bottom, 0)]
    spread = spread[:, max(-left, 0) : width - max(-right, 0)]
    rows = range(0, spread.shape[0] - kernel.shape[0] + 1, down)
    columns = range(0, spread.shape[1] - kernel.shape[1] + 1, down)
    window = lambda i, j: spread[i : i + kernel.shape[0], j : j + kernel.shape[1]]
    return gain * np.array([[(window(i, j) * kernel).sum() for j in columns] for i in rows])


@pytest.mark.parametrize("taps, options", CASES)
def test_filtering_equals_loops(taps, options):
    x = RANDOM.normal(size=(2, 5, 7, 3))
    got = jax.jit(lambda x: upfirdn.upfirdn2d(x, taps, **options))(x)
    for n in range(2):
        for c in range(3):
            expected = by_loops(x[n, ..., c], taps, **options)
            np.testing.assert_allclose(got[n, ..., c], expected, atol=1e-12)


@pytest.mark.parametrize("taps, options", CASES[3:6])
def test_the_gradient_is_the_transposed_map(taps, options):
    filtered = lambda x: upfirdn.upfirdn2d(x, taps, **options)
    x = RANDOM.normal(size=(1, 5, 7, 2))
    y = np.asarray(jax.jit(filtered)(x))
    g = RANDOM.normal(size=y.shape)
    transposed = lambda g: jax.vjp(filtered, x)[1](g)[0]
    back = np.asarray(jax.jit(transposed)(g))
    np.testing.assert_allclose((y * g).sum(), (x * back).sum(), rtol=1e-10)
    twice = jax.jit(lambda x: jax.vjp(transposed, g)[1](x)[0])(x)
    np.testing.assert_allclose(twice, y, atol=1e-12)


def test_doubling_keeps_a_constant_away_from_the_border():
    y = np.asarray(upfirdn.upsample2d(np.ones((1, 6, 6, 1))))
    np.testing.assert_allclose(y[0, 1:-1, 1:-1, 0], 1.0)


def test_halving_keeps_a_constant_away_from_the_border():
    y = np.asarray(upfirdn.downsample2d(np.ones((1, 8, 8, 1))))
    np.testing.assert_allclose(y[0, 1:-1, 1:-1, 0], 1.0)


def test_a_gaussian_has_sum_one_and_falls_to_half_at_sigma():
    taps = upfirdn.gaussian(2.0)
    assert taps.sum() == pytest.approx(1.0) and len(taps) == 13
    assert taps[8] / taps[6] == pytest.approx(0.5)


def test_a_filter_of_three_axes_is_an_error():
    with pytest.raises(ValueError, match="3 dimensions"):
        upfirdn.upfirdn2d(np.ones((1, 4, 4, 1)), np.ones((2, 2, 2)))
