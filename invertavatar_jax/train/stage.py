"""What a stage of training is: groups of parameters, and phases that move one group each.

Every iteration draws batches and runs the phases that are due, in order, each with a gradient
and an optimizer step of its own, as GAN training does. A phase computes the loss of one
microbatch at a time: the samples that see each other (minibatch standard deviation, samples
rolled within the batch, batch statistics), in the released system those of one GPU. Gradients
are averaged over all microbatches, wherever they were computed, so a stage means the same on
any number of devices.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from invertavatar_jax.pure import Weights

Tree = Any


class Inputs(NamedTuple):
    """What a loss reads."""

    params: dict[str, Tree]  # of every group; the loss is differentiated by its phase's group
    average: dict[str, Tree]  # running averages of the groups that have one
    buffers: Tree  # what no optimizer moves: frozen networks, statistics
    slot: Tree  # kept by this microbatch's place from iteration to iteration
    batch: Mapping[str, Array]  # arrays of one microbatch, leading axis b
    key: jax.Array  # of this iteration, phase and microbatch
    step: Int[Array, ""]  # iterations done before this one


class Outcome(NamedTuple):
    """What a loss returns."""

    loss: Float[Array, ""]
    metrics: dict[str, Float[Array, ""]]  # averaged over the microbatches
    buffers: dict[str, Tree] | None = None  # new values of entries of the buffers, averaged too
    slot: Tree = None  # what the place keeps from now on; None leaves it as it was


class Phase(NamedTuple):
    """One optimizer step of an iteration."""

    name: str
    group: str  # of the parameters that it moves
    loss: Callable[[Inputs], Outcome]
    every: int = 1  # runs in iterations where step % every == offset
    offset: int = 0
    draw: int = 0  # which of the iteration's batches it reads

    def due(self, step: int) -> bool:
        """Whether the phase runs in the iteration after `step` others."""
        return step % self.every == self.offset


class Group(NamedTuple):
    """Parameters that an optimizer moves together."""

    optimizer: optax.GradientTransformation
    # iterations done -> share of the running average that is kept; None keeps no average
    average: Callable[[Int[Array, ""]], Float[Array, ""]] | None = None


class Start(NamedTuple):
    """A stage's trees before its first iteration."""

    params: dict[str, Tree]  # by group
    buffers: dict[str, Tree]
    slot: Tree = ()  # of one microbatch's place


class Stage(NamedTuple):
    """A stage of training.

    Attributes:
        groups: by name, as in Start.params.
        phases: of one size of the program, in order; see `variant`.
        start: key, weights to begin with or None -> Start.
        ship: params, averages (those of groups that have one), buffers -> weights as users
            load them.
        measure: as ship, batch, key -> metrics of held-out samples, nothing moved.
        show: as measure -> named image batches [b h w c] in [-1, 1] for the grid.
        draws: batches of one iteration.
        variant: iterations done -> what the phases are built for (such as the neural
            resolution); each value compiles its phases once.
    """

    name: str
    groups: dict[str, Group]
    phases: Callable[[Hashable], tuple[Phase, ...]]
    start: Callable[[jax.Array, Weights | None], Start]
    ship: Callable[[dict[str, Tree], dict[str, Tree], Tree], Weights]
    measure: Callable[..., dict[str, Array]]
    show: Callable[..., dict[str, Array]]
    draws: int = 1
    variant: Callable[[int], Hashable] = lambda step: None


def half_life(images: float, batch_size: int, *, ramp: float | None = None) -> Callable:
    """The share that a running average keeps of itself, by iterations done.

    Args:
        images: seen until what was averaged counts half.
        ramp: limits the half-life to this share of the images seen so far; None has no limit.

    Source: TRAINING A ("EMA").
    """

    def kept(step: Int[Array, ""]) -> Float[Array, ""]:
        seen = (step + 1).astype(np.float32) * batch_size
        limit = images if ramp is None else jax.numpy.minimum(images, seen * ramp)
        return 0.5 ** (batch_size / jax.numpy.maximum(limit, 1e-8))

    return kept
