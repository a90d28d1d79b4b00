import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.supervise import adversarial


def test_an_undecided_discriminator_costs_log_2_a_sample():
    undecided = jnp.zeros((3, 1))
    assert adversarial.generator_loss(undecided) == pytest.approx(np.log(2))
    assert adversarial.discriminator_loss(undecided, undecided) == pytest.approx(2 * np.log(2))


def test_the_players_want_opposite_logits():
    low, high = jnp.full((2, 1), -3.0), jnp.full((2, 1), 3.0)
    assert adversarial.generator_loss(high) < adversarial.generator_loss(low)
    right, wrong = (adversarial.discriminator_loss(*pair) for pair in ((high, low), (low, high)))
    assert right == pytest.approx(2 * np.log1p(np.exp(-3.0)), rel=1e-5)
    assert wrong == pytest.approx(2 * np.log1p(np.exp(3.0)), rel=1e-5)


def test_a_generator_that_is_seen_through_still_has_a_gradient():
    gradient = jax.grad(adversarial.generator_loss)(jnp.full((4, 1), -50.0))
    np.testing.assert_allclose(gradient, -0.25, rtol=1e-6)


def test_losses_of_huge_logits_are_finite():
    huge = jnp.full((2, 1), 1e6)
    assert np.isfinite(adversarial.generator_loss(-huge))
    assert np.isfinite(adversarial.discriminator_loss(-huge, huge))


def test_the_penalty_is_the_squared_gradient_of_each_sample_over_all_parts():
    slope = jnp.array([1.0, -2.0, 3.0])
    samples = {
        "image": jax.random.normal(jax.random.key(0), (2, 3)),
        "neural": jax.random.normal(jax.random.key(1), (2, 1, 2)),
    }
    judge = lambda x: (x["image"] @ slope)[:, None] + jnp.square(x["neural"]).sum((1, 2))[:, None]
    found = adversarial.gradient_penalty(judge, samples)
    expected = 14.0 + 4 * np.square(samples["neural"]).sum((1, 2))
    np.testing.assert_allclose(found.penalty, expected, rtol=1e-5)
    np.testing.assert_allclose(found.logits, judge(samples), rtol=1e-6)
    np.testing.assert_allclose(found.gradients["neural"], 2 * samples["neural"], rtol=1e-6)


def test_the_penalty_has_a_gradient_by_the_judge_s_weights():
    samples = jnp.array([[2.0], [3.0]])

    def penalty(weight):
        return adversarial.gradient_penalty(lambda x: weight * x**2, samples).penalty.sum()

    # (2 w x)^2 summed over samples: derivative 8 w x^2
    np.testing.assert_allclose(jax.grad(penalty)(0.5), 8 * 0.5 * (4 + 9), rtol=1e-6)
