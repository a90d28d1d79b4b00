"""Pivotal tuning: the generator is fitted to the photos, as the paper's optimisation baseline.

Source: Roich et al., Pivotal Tuning for Latent-based Editing of Real Images (2021), sections 3.1
and 3.2: first the latent code, then the generator's weights about it.
Deviation: the code begins at E_latent's w_plus, not at the mean; L1 and the L1 of image gradients
stand for LPIPS; the paper's baseline tunes Next3D, this one our own prior.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from experiments.evaluation import systems
from invertavatar_jax import generator, networks
from invertavatar_jax.avatar import Avatar, Observation
from invertavatar_jax.generator import Features
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.supervise import losses
from invertavatar_jax.types import Frame

STEPS = 60
RATES = (5e-3, 3e-4)  # of the code (section 4.1 there: with a schedule), of the weights


class Moved(NamedTuple):
    """What is optimised."""

    w_plus: Float[Array, "b l d"]
    params: Any  # of the generator


class Tuned(NamedTuple):
    """An avatar, and the weights that it alone is drawn with."""

    avatar: Avatar
    weights: Weights


def pivotal(bench: systems.Bench, steps: int = STEPS) -> systems.System:
    """Tuning of our own prior.

    Args:
        steps: of each of the two stages; every one sees the next of the frames.
    """
    sizes, given = bench.model.sizes, bench.without_unets
    nets, shared = networks.build(sizes), bench.prepared
    rules = [optax.multi_transform(_rules(moving), Moved("code", "weights")) for moving in (0, 1)]
    updates = [jax.jit(rule.update) for rule in rules]
    own = lambda params: {"params": params, "buffers": given["buffers"]["generator"]}

    @jax.jit
    def maps(moved: Moved) -> Features:
        return generator.features(nets, own(moved.params), moved.w_plus)

    def loss(moved: Moved, frame: Frame, behind: Array | None) -> Float[Array, ""]:
        weights, made = own(moved.params), maps(moved)
        out = generator.render(
            nets, weights, sizes, moved.w_plus, made, frame.drive, background=behind
        )
        even = jnp.ones_like(frame.matte)
        whole = losses.weighted_l1(out.image, frame.image, even)
        return whole + losses.gradient_l1(out.image, frame.image)

    gradient = jax.jit(jax.grad(loss))

    kept: dict[tuple[int, ...], tuple[Sequence[Observation], Tuned]] = {}  # tuning takes minutes

    def reconstruct(seen: Sequence[Observation]) -> Tuned:
        names = tuple(map(id, seen))
        if names not in kept:
            kept[names] = seen, tune(seen)  # as long as they live, their ids are theirs
        return kept[names][1]

    def tune(seen: Sequence[Observation]) -> Tuned:
        made = shared.frames(seen)
        memory = shared.start(given, made[0].frame)
        moved = Moved(memory.w_plus, part(given, "generator")["params"])
        for rule, update in zip(rules, updates, strict=True):
            state = rule.init(moved)
            for number in tqdm(range(steps), desc="pivotal tuning", leave=False):
                one = made[number % len(made)]
                slope = gradient(moved, one.frame, systems.background(bench, one))
                change, state = update(slope, state)
                moved = jax.tree.map(jnp.add, moved, change)
        memory = memory._replace(w_plus=moved.w_plus)  # it has observed no colours
        avatar = systems.make_avatar(bench, memory, maps(moved), made[0])
        params = {**given["params"], "generator": moved.params}
        return Tuned(avatar, {**given, "params": params})

    def render(tuned: Tuned, driving: Sequence[Observation]):
        return bench.render(tuned.avatar, driving, tuned.weights)

    about = f"{steps} + {steps} steps of pivotal tuning of the generator, L1 and gradients"
    return systems.System(about, reconstruct, render)


def _rules(moving: int) -> dict[str, optax.GradientTransformation]:
    """Adam for the code (0) or the weights (1), and nothing for the other."""
    names = ("code", "weights")
    return {
        name: optax.adam(RATES[number]) if number == moving else optax.set_to_zero()
        for number, name in enumerate(names)
    }
