"""One optimisation step, compiled once, on one device or many."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from invertavatar_jax.train.state import TrainState

LossFn = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]


def make_optimizer(rate: float, total_steps: int, warmup_steps: int, clip: float):
    """Adam with a cosine schedule and clipped gradients."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=rate / max(warmup_steps, 1),
        peak_value=rate,
        warmup_steps=warmup_steps,
        decay_steps=total_steps,
        end_value=0.04 * rate,
    )
    return optax.chain(
        optax.clip_by_global_norm(clip), optax.adam(schedule, b1=0.9, b2=0.99, eps=1e-8)
    )


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, decay: float
) -> Callable[[TrainState, Any, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Compiles `state, batch, key -> state, metrics`; the old state is donated.

    A step whose gradient is not finite changes nothing but the counter, and says so in the
    metric `skipped`.

    Args:
        loss_fn: params, buffers, batch, key -> loss, metrics.
        decay: of the running average; shorter at first.
    """

    def train_step(state: TrainState, batch, key):
        key = jax.random.fold_in(key, state.step)
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, metrics), grads = grad_fn(state.params, state.buffers, batch, key)
        norm = optax.tree.norm(grads)
        fine = jnp.isfinite(norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        keep = lambda new, old: jnp.where(fine, new, old)
        params = jax.tree.map(keep, params, state.params)
        opt_state = jax.tree.map(keep, opt_state, state.opt_state)
        rate = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda a, p: rate * a + (1 - rate) * p, state.average, params)
        metrics |= {"loss": loss, "grad_norm": norm, "skipped": 1.0 - fine}
        return TrainState(state.step + 1, params, average, state.buffers, opt_state), metrics

    # on many devices: in_shardings and out_shardings of a mesh go here, nowhere else
    return jax.jit(train_step, donate_argnums=0)
