"""Steps of a damped Gauss-Newton method some of whose unknowns have bounds."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

DAMPING = 1e-3  # of the first step, relative to the curvature's diagonal
ROUNDS = 3  # of the active set, per step


def bounded_step(
    curvature: Float[Array, "p p"], gradient: Float[Array, " p"], expression: Float[Array, " e"]
) -> Float[Array, " p"]:
    """Minimises a quadratic model with expression + step kept in [0, 1], nearly.

    The first p - e unknowns are free. An active set of a few rounds; the step is within the
    bounds always, and close to the best one.
    """
    others = len(gradient) - len(expression)
    low = jnp.concatenate((jnp.full(others, -jnp.inf), -expression))
    high = jnp.concatenate((jnp.full(others, jnp.inf), 1.0 - expression))

    def round_of(_, state):
        step, held = state
        free = ~held
        system = jnp.where(free[:, None] & free, curvature, 0.0) + jnp.diag(held.astype(step.dtype))
        right = jnp.where(free, -(gradient + curvature @ jnp.where(held, step, 0.0)), step)
        step = jnp.clip(solve(system, right[:, None])[:, 0], low, high)
        return step, still_held(step)

    def still_held(step):
        slope = gradient + curvature @ step
        return ((step <= low) & (slope > 0)) | ((step >= high) & (slope < 0))

    step = jnp.zeros_like(gradient)
    return jax.lax.fori_loop(0, ROUNDS, round_of, (step, still_held(step)))[0]


def accept(
    better: Bool[Array, ""], tried: PyTree, kept: PyTree, damping: Float[Array, ""]
) -> tuple[PyTree, Float[Array, ""]]:
    """Levenberg and Marquardt's rule: keeps a step that helps, else tries a shorter one."""
    chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, kept)
    return chosen, jnp.clip(damping * jnp.where(better, 0.3, 10.0), 1e-5, 1e3)


def solve(matrix: Float[Array, "p p"], right: Float[Array, "p q"]) -> Float[Array, "p q"]:
    """Cholesky solve with the diagonal scaled to 1: pose and weights differ by 1e7 in scale."""
    scale = jax.lax.rsqrt(jnp.diag(matrix))[:, None]
    scaled = matrix * scale * scale[:, 0]
    factor = jax.scipy.linalg.cho_factor(scaled + 1e-6 * jnp.eye(len(matrix)))
    return scale * jax.scipy.linalg.cho_solve(factor, scale * right)
