import jax
import numpy as np
import pytest

from invertavatar_jax.ops import banded

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(2)


def scattered() -> np.ndarray:
    matrix = np.zeros((6, 5))
    matrix[0, 0], matrix[1, 1:3], matrix[3, 4], matrix[5, :2] = 2.0, (1.0, -1.0), 3.0, (0.5, 0.25)
    return matrix


MATRICES = {
    "scattered": scattered(),
    "zero": np.zeros((3, 5)),
    "one diagonal above": 2.0 * np.eye(4, 5, 1),
    "diagonals": np.eye(7, 5, -2) + 3 * np.eye(7, 5) - np.eye(7, 5, 1),
    "wider than gathers pay": RANDOM.normal(size=(3, 40)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_packing_keeps_the_matrix(name):
    np.testing.assert_array_equal(banded.dense(banded.bands(MATRICES[name])), MATRICES[name])


@pytest.mark.parametrize("rows", MATRICES)
def test_the_map_and_its_gradient_are_the_matrices(rows):
    names = [*MATRICES]
    a, b = MATRICES[rows], MATRICES[names[names.index(rows) - 1]]
    x = RANDOM.normal(size=(2, a.shape[1], b.shape[1], 3))
    packed = banded.bands(a), banded.bands(b)
    g = RANDOM.normal(size=(2, len(a), len(b), 3))
    run = lambda x, g: jax.vjp(lambda x: banded.apply_rows_columns(x, *packed), x)[1](g)[0]
    y = jax.jit(lambda x: banded.apply_rows_columns(x, *packed))(x)
    np.testing.assert_allclose(y, np.einsum("ph,qw,bhwc->bpqc", a, b, x), atol=1e-12)
    np.testing.assert_allclose(
        jax.jit(run)(x, g), np.einsum("ph,qw,bpqc->bhwc", a, b, g), atol=1e-12
    )
