"""Folds of clips whose frames are spread over devices along time (sequence parallelism).

What depends on one frame alone (the encoders' trunks, gates that do not read the memory) needs
no exchange, and every device keeps its own frames. The devices exchange states only, so what
is moved does not depend on the number of frames.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from invertavatar_jax.aggregate.fold import Frames, Memory, Params, Step, fold
from invertavatar_jax.aggregate.linear import Reader, State, Terms, apply, join


class Spread(NamedTuple):
    """Where the frames of a clip are: its leading axis is split over one axis of the devices."""

    mesh: Mesh
    axis: str


def fold_over_devices(
    step: Step[Memory],
    params: Params,
    memory: Memory,
    frames: Frames,
    spread: Spread,
    *,
    remat: bool = True,
) -> Memory:
    """As fold.fold, with the same bits, of frames that are spread over devices.

    The devices fold their frames in turn, each when the memory of those before arrives: it
    takes the time of one device, and the room of a share of the frames. The backward pass
    keeps one memory per device, and those of fold.fold for the device's own frames.

    Args:
        step, remat: as of fold.fold.
        params, memory: the same on all devices, as the result is.

    Raises:
        ValueError: the devices do not divide the frames.

    Source: paper 3.4 (Eq. 1), whose recurrence has no other order.
    """
    mesh, axis = spread
    devices = mesh.shape[axis]

    def local(params: Params, memory: Memory, frames: Frames) -> Memory:
        own = lax.axis_index(axis)
        params, memory = _varying((params, memory), axis)
        onwards = [(i, (i + 1) % devices) for i in range(devices)]

        def turn(memory: Memory, number) -> tuple[Memory, None]:
            mine = lambda memory: fold(step, params, memory, frames, remat=remat)
            memory = lax.cond(number == own, mine, lambda memory: memory, memory)
            return lax.ppermute(memory, axis, onwards), None

        # without it every turn would keep what the one turn with frames needs
        turn = jax.checkpoint(turn, prevent_cse=False)
        memory, _ = lax.scan(turn, memory, jnp.arange(devices))
        return _from_device(0, memory, axis)  # the last one has sent it onwards

    _check(jax.tree.leaves(frames)[0].shape[0], devices)
    specs = PartitionSpec(), PartitionSpec(), PartitionSpec(axis)
    mapped = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
    return mapped(params, memory, frames)


def scan_over_devices(
    steps: Terms, state: State, spread: Spread
) -> tuple[Float[Array, "t b h w c"], State]:
    """The state after each step of a linear recurrence whose steps are spread over devices.

    Every device joins its own steps, at the same time as the others; then each applies the
    joined steps of the devices before it.

    Args:
        steps: as of linear.states, spread along t.
        state: before the first step, the same on all devices.

    Returns:
        The states, spread as the steps are, and the last one on all devices.

    Raises:
        ValueError: the devices do not divide the steps.
    """
    mesh, axis = spread
    devices = mesh.shape[axis]

    def local(steps: Terms, state: State):
        joined = lax.associative_scan(join, steps)
        whole = jax.tree.map(lambda x: lax.all_gather(x[-1], axis), joined)
        through = lambda state, step: (apply(step, state), state)
        _, before = lax.scan(through, _varying(state, axis), whole)
        found = apply(joined, before[lax.axis_index(axis)][None])
        return found, _from_device(devices - 1, found[-1], axis)

    _check(steps[1].shape[0], devices)
    specs = PartitionSpec(axis), PartitionSpec()
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=specs)(steps, state)


def last_state(
    read: Reader, params: Params, state: State, frames: Float[Array, "t b h w c"], spread: Spread
) -> State:
    """As linear.at_once, of frames that are spread over devices."""
    return scan_over_devices(read(params, frames), state, spread)[1]


def _check(count: int, devices: int) -> None:
    if count % devices:
        raise ValueError(f"got {count} frames, expected a multiple of the {devices} devices")


def _varying(tree, axis: str):
    """Tells that devices may hold different values from here on."""
    return jax.tree.map(functools.partial(lax.pcast, axis_name=axis, to="varying"), tree)


def _from_device(number: int, tree, axis: str):
    """One device's values, on all: the others add zeros."""
    here = lax.axis_index(axis) == number
    return jax.tree.map(lambda x: lax.psum(jnp.where(here, x, jnp.zeros_like(x)), axis), tree)
