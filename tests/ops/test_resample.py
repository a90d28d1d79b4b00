import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from invertavatar_jax.ops.resample import conv2d_down, conv2d_up, spread2d
from invertavatar_jax.ops.upfirdn import downsample2d, upsample2d

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(5)


def draw(*shape):
    return RANDOM.normal(size=shape)


def test_spreading_adds_every_tap_where_it_falls():
    x, weight = draw(1, 3, 4, 2), draw(3, 3, 2, 3)
    expected = np.zeros((1, 7, 9, 3))
    for u, v in np.ndindex(3, 4):
        expected[0, 2 * u : 2 * u + 3, 2 * v : 2 * v + 3] += np.einsum(
            "i,klio->klo", x[0, u, v], weight
        )
    np.testing.assert_allclose(spread2d(x, weight), expected, atol=1e-10)


@pytest.mark.parametrize("function", [conv2d_up, conv2d_down])
def test_resampling_convolutions_have_right_gradients(function):
    x, weight = draw(1, 4, 4, 2), draw(3, 3, 2, 2)
    squared = jax.jit(lambda x, weight: function(x, weight) ** 2)
    check_grads(squared, (x, weight), order=2, modes=["rev"], eps=1e-5)


def test_resampling_with_a_unit_weight_is_resampling():
    x, unit = draw(1, 6, 6, 2), np.eye(2)[None, None]
    centre = np.zeros((3, 3, 2, 2))
    centre[1, 1] = np.eye(2)
    np.testing.assert_allclose(conv2d_up(x, unit), upsample2d(x), atol=1e-10)
    np.testing.assert_allclose(conv2d_down(x, unit), downsample2d(x), atol=1e-10)
    inner = lambda y: np.asarray(y)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner(conv2d_up(x, centre)), inner(upsample2d(x)), atol=1e-10)
