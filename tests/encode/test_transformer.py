import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from invertavatar_jax.encode import transformer
from invertavatar_jax.pure import pure
from tests.encode.weights import draw


def test_queries_in_parts_attend_as_all_at_once(monkeypatch):
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 12, 2, 5))
    whole = transformer.attend(query, key, value)
    monkeypatch.setattr(transformer, "QUERIES", 4)
    np.testing.assert_allclose(transformer.attend(query, key, value), whole, rtol=1e-5, atol=1e-6)


def test_attention_equals_a_loop_over_queries():
    query, key, value = np.random.default_rng(0).normal(size=(3, 1, 4, 2, 3))
    got = transformer.attend(*(jnp.asarray(x, jnp.float32) for x in (query, key, value)))
    for n in range(4):
        for head in range(2):
            scores = np.exp(key[0, :, head] @ query[0, n, head] / np.sqrt(3))
            expected = (scores / scores.sum()) @ value[0, :, head]
            np.testing.assert_allclose(got[0, n, head], expected, rtol=1e-4, atol=1e-5)


def test_the_depthwise_convolution_equals_a_grouped_one():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 6))
    conv = pure(transformer.DepthwiseConv())
    weights = draw(conv.init, x)
    params = weights["params"]
    expected = lax.conv_general_dilated(
        x,
        params["weight"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=6,
    )
    got = conv.apply(weights, x)
    np.testing.assert_allclose(got, expected + params["bias"], rtol=1e-4, atol=1e-5)


def test_normalised_features_have_mean_zero_and_variance_one():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 3, 3, 64))
    norm = pure(transformer.LayerNorm())
    y = norm.apply(norm.init(jax.random.key(1), x), x)
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(-1), 1, rtol=1e-4)


def test_the_transformer_keeps_the_shape_and_every_parameter_has_a_finite_effect():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 6))
    network = pure(transformer.Transformer(2, 8, 2))
    weights = draw(network.init, x)
    assert network.apply(weights, x).shape == x.shape
    loss = lambda params: (network.apply(weights | {"params": params}, x) ** 2).sum()
    grads, _ = jax.tree_util.tree_flatten_with_path(jax.jit(jax.grad(loss))(weights["params"]))
    for path, grad in grads:
        assert np.isfinite(grad).all() and np.any(grad), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("network", "side", "message"),
    [
        (transformer.Transformer(1, 8, 2), 5, "expected even sides"),
        (transformer.Transformer(1, 8, 3), 4, "multiple of 3 heads"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(network, side, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(pure(network).init, jax.random.key(0), jnp.zeros((1, side, side, 6)))
