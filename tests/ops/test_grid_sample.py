import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from invertavatar_jax.ops.grid_sample import grid_sample

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(4)
IMAGE = RANDOM.normal(size=(2, 4, 5, 3))


def look_up(image, x, y):
    """Bilinear value of (h, w, c) at (x, y) in [-1, 1], zeros outside."""
    h, w, _ = image.shape
    column, row = (x + 1) * w / 2 - 0.5, (y + 1) * h / 2 - 0.5
    total = 0.0
    for i in range(h):
        for j in range(w):
            weight = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
            total = total + weight * image[i, j]
    return total


def test_samples_equal_loops_inside_and_outside():
    grid = RANDOM.uniform(-1.6, 1.6, size=(2, 3, 7, 2))
    got = np.asarray(jax.jit(grid_sample)(IMAGE, grid))
    for n, i, j in np.ndindex(2, 3, 7):
        np.testing.assert_allclose(got[n, i, j], look_up(IMAGE[n], *grid[n, i, j]), atol=1e-12)


def test_pixel_centres_return_pixels():
    rows, columns = np.mgrid[:4, :5]
    grid = np.stack([(2 * columns + 1) / 5 - 1, (2 * rows + 1) / 4 - 1], -1)
    got = grid_sample(IMAGE, np.stack([grid, grid]))
    np.testing.assert_allclose(got, IMAGE, atol=1e-12)


def test_gradients_equal_finite_differences():
    grid = RANDOM.uniform(-0.93, 0.93, size=(2, 6, 2)) * 0.97 + 0.011
    check_grads(jax.jit(grid_sample), (IMAGE, grid), order=1, modes=["rev"], eps=1e-6)


@jax.jit
def value_and_gradients(grid):
    value, pull = jax.vjp(grid_sample, jnp.asarray(IMAGE), grid)
    return value, *pull(jnp.ones_like(value))


def test_far_outside_is_zero_with_zero_gradients():
    grid = jnp.array([[[5.0, 0.0], [0.0, -9.0], [1e6, 1e6]]] * 2)
    for array in value_and_gradients(grid):
        np.testing.assert_array_equal(array, 0.0)


def test_the_very_edge_is_finite():
    grid = jnp.array([[[1.0, 1.0], [-1.0, -1.0], [1.2, 1.25], [-1.2, -1.25]]] * 2)
    assert all(np.isfinite(array).all() for array in value_and_gradients(grid))
