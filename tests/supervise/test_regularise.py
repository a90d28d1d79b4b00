import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.supervise.regularise import density_steps

KEY, POINTS, SPREAD = jax.random.key(3), 4000, 0.004


def test_a_constant_density_costs_nothing():
    cost = density_steps(lambda points: jnp.ones_like(points[..., :1]), KEY, 2, 10, SPREAD)
    assert cost == 0


def test_a_slope_costs_its_mean_change_over_a_step():
    slope = jnp.array([[30.0], [-40.0], [0.0]])
    cost = density_steps(lambda points: points @ slope, KEY, 2, POINTS, SPREAD)
    expected = 50 * SPREAD * np.sqrt(2 / np.pi)  # mean of |N(0, 50 spread)|
    assert cost == pytest.approx(expected, rel=0.03)


def test_steps_start_everywhere_in_the_cube():
    seen = {}

    def density(points):
        seen["points"] = np.asarray(points)
        return points[..., :1]

    density_steps(density, KEY, 2, POINTS, SPREAD)
    start, end = np.split(seen["points"], 2, 1)
    assert start.shape == (2, POINTS, 3)
    assert np.abs(start).max() <= 1
    np.testing.assert_allclose(start.mean((0, 1)), 0, atol=0.03)
    np.testing.assert_allclose(start.var((0, 1)), 1 / 3, atol=0.02)
    np.testing.assert_allclose((end - start).std(), SPREAD, rtol=0.03)
    inside = (np.abs(start) < 0.5).all(-1).mean()
    assert inside == pytest.approx(1 / 8, abs=0.02)


def test_the_gradient_agrees_with_finite_differences():
    def cost(weight):
        field = lambda points: jnp.sin(weight * points[..., :1]) + weight * points[..., 1:2]
        return density_steps(field, KEY, 1, 50, 0.1)

    slope = float(cost(1.01) - cost(0.99)) / 0.02
    assert jax.grad(cost)(1.0) == pytest.approx(slope, rel=1e-3)
