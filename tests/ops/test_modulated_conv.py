import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.ops.modulated_conv import channel_split_sft, modulated_conv
from invertavatar_jax.ops.resample import conv2d_up

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(6)
X, STYLE = RANDOM.normal(size=(3, 4, 4, 2)), 1 + RANDOM.normal(size=(3, 2))


@pytest.mark.parametrize(
    "k, up, demodulate", [(3, 1, True), (3, 2, True), (1, 1, False), (1, 2, True)]
)
def test_every_sample_is_convolved_with_its_own_weights(k, up, demodulate):
    weight = RANDOM.normal(size=(k, k, 2, 5))
    run = lambda *inputs: modulated_conv(*inputs, up=up, demodulate=demodulate)
    got = jax.jit(run)(X, weight, STYLE)
    for n in range(3):
        own = weight * STYLE[n][:, None]
        if demodulate:
            own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
        one = X[n : n + 1]
        expected = conv2d_up(one, own) if up == 2 else conv2d(one, own, 1, k // 2)
        np.testing.assert_allclose(got[n], expected[0], atol=1e-5)


@pytest.mark.parametrize("k, up", [(3, 1), (3, 2), (1, 1)])
def test_gradients_equal_finite_differences(k, up):
    weight = RANDOM.normal(size=(k, k, 2, 2))
    run = jax.jit(lambda *inputs: modulated_conv(*inputs, up=up))
    check_grads(run, (X, weight, STYLE), order=1, modes=["rev"], eps=1e-3, rtol=1e-2, atol=1e-2)


def test_a_zero_style_has_finite_gradients():
    weight = RANDOM.normal(size=(3, 3, 2, 2))
    loss = lambda style: modulated_conv(X, weight, style).sum()
    assert np.isfinite(jax.grad(loss)(np.zeros_like(STYLE))).all()


def test_sft_changes_the_second_half_of_the_channels_alone():
    x, condition = RANDOM.normal(size=(1, 2, 2, 6)), RANDOM.normal(size=(2, 1, 2, 2, 3))
    got = channel_split_sft(x, condition)
    np.testing.assert_array_equal(got[..., :3], x[..., :3])
    np.testing.assert_allclose(got[..., 3:], x[..., 3:] * condition[0] + condition[1])
