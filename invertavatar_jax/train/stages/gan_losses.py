"""The losses of the adversarial stage. Paper 3.1, A.1.1; TRAINING A."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.pure import Weights
from invertavatar_jax.supervise import adversarial, regularise
from invertavatar_jax.train.stage import Inputs, Outcome
from invertavatar_jax.train.stages.gan_players import Pictures, Players, Size


def generator_weights(inputs: Inputs) -> Weights:
    """The generator that is being trained."""
    return {"params": inputs.params["generator"], "buffers": inputs.buffers["generator"]}


def fool(players: Players, size: Size, inputs: Inputs) -> Outcome:
    """The generator wants its pictures taken for real ones."""
    made = players.make(
        generator_weights(inputs), inputs.batch, inputs.step, inputs.key, size.resolution
    )
    sigma = players.schedule.sigma(inputs.step) if size.blurred else None
    logits = players.judge(inputs.params["discriminator"], made.pictures, made.label, sigma)
    return Outcome(adversarial.generator_loss(logits), {"fake": logits.mean()})


def smooth(players: Players, size: Size, inputs: Inputs) -> Outcome:
    """Density changes little over short steps; counted for all iterations between."""
    own = players.schedule.own
    key_density, key_steps = jax.random.split(inputs.key)
    weights = generator_weights(inputs)
    density = players.density(weights, inputs.batch, inputs.step, key_density)
    people = inputs.batch["other_camera"].shape[0]
    steps = regularise.density_steps(
        density, key_steps, people, own.density_points, own.density_spread
    )
    return Outcome(own.density_every * own.density_weight * steps, {"density_steps": steps})


def tell_apart(players: Players, size: Size, inputs: Inputs) -> Outcome:
    """The discriminator's part; the mean of w moves with what is drawn for it."""
    sigma = players.schedule.sigma(inputs.step) if size.blurred else None
    weights, batch = generator_weights(inputs), inputs.batch
    made = players.make(weights, batch, inputs.step, inputs.key, size.resolution)
    params = inputs.params["discriminator"]
    fake = players.judge(params, made.pictures, made.label, sigma)
    real = players.judge(
        params, players.real(batch, size.resolution, sigma), batch["camera"][:, 0], sigma
    )
    keep = players.schedule.own.w_average_keep
    w_average = keep * inputs.buffers["w_average"] + (1 - keep) * made.w.mean(0)
    metrics = {
        "fake": fake.mean(),
        "real": real.mean(),
        "right": 0.5 * ((fake < 0).mean() + (real > 0).mean()),
    }
    loss = adversarial.discriminator_loss(real, fake)
    return Outcome(loss, metrics, {"w_average": w_average})


def calm(players: Players, size: Size, inputs: Inputs) -> Outcome:
    """The discriminator is flat at real pictures; counted for all iterations between."""
    own, batch = players.schedule.own, inputs.batch
    sigma = players.schedule.sigma(inputs.step) if size.blurred else None
    label, params = batch["camera"][:, 0], inputs.params["discriminator"]
    judge = functools.partial(players.judge, params, label=label, sigma=sigma)
    found = penalty(judge, players.real(batch, size.resolution, sigma), own.gamma)
    return Outcome(own.penalty_every * found[0], {"penalty": found[1].penalty.mean()})


def penalty(
    judge, pictures: Pictures, gamma: float
) -> tuple[Float[Array, ""], adversarial.Penalty]:
    """R1: gamma / 2 of the squared gradient by all pictures, and what it was computed from."""
    found = adversarial.gradient_penalty(judge, pictures)
    return gamma / 2 * found.penalty.mean(), found


@jax.custom_vjp
def replaced_nonfinite(params):
    """Returns params; in their gradient nan becomes 0 and infinities +-1e5.

    Source: TRAINING A ("grads"). Deviation: done for each microbatch, before the mean over them.
    """
    return params


def _repair(_, gradient):
    fix = functools.partial(jnp.nan_to_num, nan=0.0, posinf=1e5, neginf=-1e5)
    return (jax.tree.map(fix, gradient),)


replaced_nonfinite.defvjp(lambda params: (params, None), _repair)
