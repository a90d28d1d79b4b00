import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from invertavatar_jax.ops import moments

pytestmark = pytest.mark.usefixtures("double_precision")

RANDOM = np.random.default_rng(7)


def test_the_second_moment_becomes_one():
    x = moments.normalize_second_moment(RANDOM.normal(size=(5, 9)) * 40)
    np.testing.assert_allclose((np.asarray(x) ** 2).mean(-1), 1.0, rtol=1e-6)


def test_a_zero_vector_stays_zero_with_a_finite_gradient():
    value, pull = jax.vjp(moments.normalize_second_moment, np.zeros((1, 4)))
    assert not np.any(value) and np.isfinite(pull(np.ones((1, 4)))[0]).all()


@pytest.mark.parametrize("group, channels", [(4, 1), (2, 3), (None, 2)])
def test_minibatch_std_equals_loops(group, channels):
    x = RANDOM.normal(size=(8, 3, 3, 6))
    got = np.asarray(moments.append_minibatch_std(x, group, channels))
    np.testing.assert_array_equal(got[..., :6], x)
    groups, width = 8 // (group or 8), 6 // channels
    for n, f in np.ndindex(8, channels):
        members = x[n % groups :: groups, ..., f * width : (f + 1) * width]
        std = np.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8)
        np.testing.assert_allclose(got[n, ..., 6 + f], std.mean(), rtol=1e-6)


def test_identical_samples_have_finite_gradients():
    same = lambda x: moments.append_minibatch_std(np.ones((4, 2, 2, 2)) * x).sum()
    assert np.isfinite(jax.grad(same)(1.0))


def test_minibatch_std_has_right_gradients():
    x = RANDOM.normal(size=(4, 2, 2, 2))
    check_grads(jax.jit(moments.append_minibatch_std), (x,), order=2, modes=["rev"], eps=1e-5)


def test_a_batch_that_groups_do_not_divide_is_an_error():
    with pytest.raises(ValueError, match="batch of 6"):
        moments.append_minibatch_std(np.ones((6, 2, 2, 2)))
