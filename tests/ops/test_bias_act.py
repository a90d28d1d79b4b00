import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from invertavatar_jax.ops.bias_act import bias_act

pytestmark = pytest.mark.usefixtures("double_precision")

X = np.random.default_rng(0).normal(size=(2, 3, 4)) * 2
BIAS = np.array([0.3, -0.2, 1.0, 0.0])


def in_words(name: str, x: float) -> float:
    root = math.sqrt(2)
    return {
        "linear": x,
        "relu": root * max(x, 0),
        "lrelu": root * (x if x > 0 else 0.2 * x),
        "tanh": math.tanh(x),
        "sigmoid": 1 / (1 + math.exp(-x)),
        "softplus": math.log(1 + math.exp(x)),
        "swish": root * x / (1 + math.exp(-x)),
    }[name]


@pytest.mark.parametrize(
    "name", ["linear", "relu", "lrelu", "tanh", "sigmoid", "softplus", "swish"]
)
def test_activations_are_their_formulas(name):
    expected = np.vectorize(lambda x: in_words(name, x))(X + BIAS)
    np.testing.assert_allclose(bias_act(X, BIAS, name), expected, rtol=1e-6)


def test_the_clamp_comes_after_the_gain():
    got = bias_act(np.array([[0.4, 0.6, -3.0]]), None, gain=2.0, clamp=1.0)
    np.testing.assert_allclose(got, [[0.8, 1.0, -1.0]])


def test_the_type_is_that_of_x():
    assert bias_act(jnp.ones((1, 4), jnp.bfloat16), jnp.ones(4), "lrelu").dtype == jnp.bfloat16


def test_gradients_equal_finite_differences():
    run = jax.jit(lambda x, b: bias_act(x, b, "lrelu", clamp=2.0))
    check_grads(run, (X, BIAS), order=1, modes=["rev"])


def test_an_unknown_activation_is_named_in_the_error():
    with pytest.raises(ValueError, match="gelu"):
        bias_act(X, None, "gelu")
