import jax
import jax.numpy as jnp
import numpy as np

from invertavatar_jax.render import exponential

X = np.concatenate([np.linspace(-100, 100, 4001), [-1e30, -np.inf, np.inf, 1e30]])
X = X.astype(np.float32)
# Compiled in one piece, as it is used: XLA may reorder what it sees together.
softplus, sigmoid = jax.jit(exponential.softplus), jax.jit(exponential.sigmoid)
slope_of = lambda function: jax.jit(jax.vmap(jax.grad(function)))
WIDE = X.astype(np.float64)
with np.errstate(over="ignore"):
    SIGMOID = 1 / (1 + np.exp(-WIDE))


def test_softplus_is_exact_to_float32_rounding_of_one():
    exact = np.logaddexp(WIDE, 0)
    np.testing.assert_allclose(softplus(X), exact, rtol=1e-6, atol=2e-7)
    slope = slope_of(exponential.softplus)(X)
    np.testing.assert_allclose(slope, SIGMOID, rtol=5e-6, atol=1e-37)


def test_sigmoid_is_exact_to_float32_rounding():
    got = sigmoid(X)
    np.testing.assert_allclose(got, SIGMOID, rtol=5e-6, atol=1e-37)
    np.testing.assert_allclose(got, SIGMOID, atol=2e-7, rtol=0)
    slope = slope_of(exponential.sigmoid)(X)
    np.testing.assert_allclose(slope, SIGMOID * (1 - SIGMOID), rtol=1e-5, atol=2e-7)


def test_bad_numbers_stay_visible():
    bad = jnp.array([jnp.nan])
    assert np.isnan(softplus(bad)).all()
    assert np.isnan(sigmoid(bad)).all()
