import jax
import numpy as np
import pytest

from invertavatar_jax.ops import resize

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(3)


def sample(line: np.ndarray, position: float) -> float:
    """Linear interpolation between the samples of a line, constant beyond its ends."""
    return float(np.interp(position, np.arange(len(line)), line))


def along_both(x, size, one_axis):
    """Applies line, target -> line to the rows and columns of (h, w)."""
    tall = np.array([one_axis(column, size[0]) for column in x.T]).T
    return np.array([one_axis(row, size[1]) for row in tall])


def half_pixel(line, target):
    scale = len(line) / target
    return [sample(line, (i + 0.5) * scale - 0.5) for i in range(target)]


def corners(line, target):
    return [sample(line, i * (len(line) - 1) / (target - 1)) for i in range(target)]


def antialiased(line, target):
    scale = len(line) / target
    support, values = max(scale, 1.0), []
    for i in range(target):
        centre = (i + 0.5) * scale
        weights = [max(0.0, 1 - abs(j + 0.5 - centre) / support) for j in range(len(line))]
        values.append(np.dot(weights, line) / sum(weights))
    return values


def means(line, target):
    n = len(line)
    return [line[i * n // target : -(-(i + 1) * n // target)].mean() for i in range(target)]


FUNCTIONS = [
    (resize.resize_bilinear, half_pixel),
    (resize.resize_align_corners, corners),
    (resize.resize_antialias, antialiased),
    (resize.average_pool, means),
]


@pytest.mark.parametrize("function, one_axis", FUNCTIONS)
@pytest.mark.parametrize("size", [(3, 13), (12, 7)])
def test_resizing_equals_loops(function, one_axis, size):
    x = RANDOM.normal(size=(2, 6, 10, 2))
    got = jax.jit(function, static_argnums=1)(x, size)
    for n, c in np.ndindex(2, 2):
        expected = along_both(x[n, ..., c], size, one_axis)
        np.testing.assert_allclose(got[n, ..., c], expected, atol=1e-12)


@pytest.mark.parametrize("function", [function for function, _ in FUNCTIONS])
def test_a_constant_image_stays_constant(function):
    np.testing.assert_allclose(function(np.full((1, 5, 9, 1), 3.0), (4, 13)), 3.0)


def test_pooling_to_the_same_side_changes_nothing():
    x = RANDOM.normal(size=(1, 4, 4, 2))
    assert resize.pool_to(x, 4) is x
    np.testing.assert_allclose(resize.pool_to(x, 2)[0, 0, 0], x[0, :2, :2].mean((0, 1)))


def test_pixel_shuffle_puts_channels_where_torch_does():
    x = RANDOM.normal(size=(2, 3, 4, 8))
    got = resize.pixel_shuffle(x, 2)
    assert got.shape == (2, 6, 8, 2)
    for row, column, i, j, o in np.ndindex(3, 4, 2, 2, 2):
        pixel = got[:, 2 * row + i, 2 * column + j, o]
        np.testing.assert_array_equal(pixel, x[:, row, column, o * 4 + i * 2 + j])
