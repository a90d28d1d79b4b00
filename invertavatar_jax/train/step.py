"""One phase of an iteration, compiled once, on one device or many."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from invertavatar_jax.train import mesh as meshes
from invertavatar_jax.train.stage import Group, Inputs, Phase, Stage
from invertavatar_jax.train.state import TrainState


class Placing(NamedTuple):
    """Where a run computes and how it adds up."""

    mesh: Mesh
    microbatches: int  # in a global batch; the data axis divides them
    deterministic: bool  # the same bits on any number of devices
    rules: Sequence[meshes.Rule]


class Sums(NamedTuple):
    """What is added over microbatches."""

    gradient: Any
    metrics: dict[str, jax.Array]
    buffers: dict[str, Any]


class Moving(NamedTuple):
    """The part of a state that a phase changes."""

    params: Any
    opt_state: Any
    buffers: dict[str, Any]


class Step(NamedTuple):
    """A phase, compiled: state, batch, key -> state, metrics."""

    group: str
    differentiate: Any  # jitted: state, batch, key -> sums, slots
    update: Callable[..., tuple[Moving, dict[str, jax.Array]]]  # moving (used up), sums

    def __call__(self, state: TrainState, batch, key) -> tuple[TrainState, dict[str, jax.Array]]:
        """The state after the phase, and its metrics; what the phase moves is used up."""
        sums, slots = self.differentiate(state, batch, key)
        new, metrics = self.update(self.moving(state, sums), sums)
        after = state._replace(
            params=state.params | {self.group: new.params},
            opt_state=state.opt_state | {self.group: new.opt_state},
            buffers=state.buffers | new.buffers,
            slots=slots,
        )
        return after, metrics

    def moving(self, state: TrainState, sums: Sums) -> Moving:
        """The part of the state that `update` takes."""
        buffers = {name: state.buffers[name] for name in sums.buffers}
        return Moving(state.params[self.group], state.opt_state[self.group], buffers)


def state_shardings(state, placing: Placing) -> TrainState:
    """Where the leaves of a (perhaps abstract) state are; slots go with their microbatches."""
    mesh = placing.mesh
    slots = jax.tree.map(lambda _: NamedSharding(mesh, P("data")), state.slots)
    rest = meshes.shardings(state._replace(slots=()), placing.rules, mesh)
    return rest._replace(slots=slots)


def batch_sharding(placing: Placing) -> NamedSharding:
    """Where the rows of a batch are."""
    return NamedSharding(placing.mesh, P("data"))


def make_step(phase: Phase, group: Group, placing: Placing, state) -> Step:
    """Compiles a phase.

    Where the gradient is not finite nothing moves; the metric grad_norm says so.

    Args:
        state: the state, or its shapes.

    Raises:
        ValueError: the devices of the data axis do not divide the microbatches.
    """
    add_gradients = _add_gradients(phase, placing)

    def differentiate(state: TrainState, batch, key):
        trees = state.params, state.average, state.buffers, state.slots
        return add_gradients(*trees, batch, jax.random.fold_in(key, state.step), state.step)

    def update(old: Moving, sums: Sums):
        return _update(phase, group, placing.microbatches, old, sums)

    placed, everywhere = state_shardings(state, placing), NamedSharding(placing.mesh, P())
    params = placed.params[phase.group]
    moving = Moving(params, placed.opt_state[phase.group], everywhere)  # pyright: ignore
    summed = Sums(params, everywhere, everywhere)  # pyright: ignore[reportArgumentType]
    differentiated = jax.jit(
        differentiate,
        in_shardings=(placed, batch_sharding(placing), everywhere),
        out_shardings=(summed, placed.slots),
    )
    if placing.deterministic:
        updated = _on_one_device(update, placing.mesh)
    else:
        shardings = dict(in_shardings=(moving, summed), out_shardings=(moving, everywhere))
        updated = jax.jit(update, donate_argnums=0, **shardings)
    return Step(phase.group, differentiated, updated)


def make_advance(stage: Stage, placing: Placing, state) -> Callable[[TrainState], TrainState]:
    """Compiles what ends an iteration: running averages move, the step is counted."""

    def advance(average, params, step):
        mixed = {}
        for name, old in average.items():
            keep = stage.groups[name].average(step)  # pyright: ignore[reportOptionalCall]
            mix = lambda a, p, keep=keep: keep * a + (1 - keep) * p
            mixed[name] = jax.tree.map(mix, old, params[name])
        return mixed, step + 1

    placed = state_shardings(state, placing)
    if placing.deterministic:
        compiled = _on_one_device(advance, placing.mesh)
    else:
        shardings = dict(out_shardings=(placed.average, placed.step))
        compiled = jax.jit(advance, donate_argnums=(0, 2), **shardings)

    def whole(state: TrainState) -> TrainState:
        averaged = {name: state.params[name] for name in state.average}
        average, step = compiled(state.average, averaged, state.step)
        return state._replace(average=average, step=step)

    return whole


def make_measure(measure: Callable, placing: Placing, state) -> Callable[..., dict[str, jax.Array]]:
    """Compiles `state, batch, key -> metrics`, means over microbatches; nothing moves.

    Args:
        measure: as Stage.measure.
    """
    here = placing.microbatches // placing.mesh.shape["data"]

    def on_device(params, average, buffers, batch, key):
        split = jax.tree.map(lambda x: x.reshape(here, -1, *x.shape[1:]), batch)
        each = lax.map(lambda some: measure(params, average, buffers, some, key), split)
        return lax.pmean(jax.tree.map(lambda x: x.mean(), each), "data")

    mapped = jax.shard_map(
        on_device,
        mesh=placing.mesh,
        in_specs=(P(), P(), P(), P("data"), P()),
        out_specs=P(),
        axis_names={"data"},
        check_vma=False,
    )
    placed, everywhere = state_shardings(state, placing), NamedSharding(placing.mesh, P())
    return jax.jit(
        lambda state, batch, key: mapped(state.params, state.average, state.buffers, batch, key),
        in_shardings=(placed, batch_sharding(placing), everywhere),
        out_shardings=everywhere,
    )


def _update(
    phase: Phase, group: Group, count: int, old: Moving, sums: Sums
) -> tuple[Moving, dict[str, jax.Array]]:
    """The optimizer's step, and the metrics under the phase's name."""
    mean = jax.tree.map(lambda x: x / count, sums)
    norm = optax.tree.norm(mean.gradient)
    updates, opt_state = group.optimizer.update(mean.gradient, old.opt_state, old.params)
    new = Moving(optax.apply_updates(old.params, updates), opt_state, mean.buffers)
    fine = jnp.isfinite(norm)
    new = jax.tree.map(lambda new, old: jnp.where(fine, new, old), new, old)
    metrics = mean.metrics | {"grad_norm": norm}
    return new, {f"{phase.name}/{name}": value for name, value in metrics.items()}


def _on_one_device(function: Callable, mesh: Mesh) -> Callable:
    """The function of trees that are whole on every device: computed on one, then copied.

    A compiler makes of it another program for several devices, which rounds differently.
    """
    compiled, everywhere = jax.jit(function, donate_argnums=0), NamedSharding(mesh, P())
    devices = [
        device for device in mesh.devices.flat if device.process_index == jax.process_index()
    ]

    def copied(x):
        copies = [jax.device_put(x, device) for device in devices]
        return jax.make_array_from_single_device_arrays(x.shape, everywhere, copies)

    def run(*trees):
        alone = jax.tree.map(lambda x: x.addressable_data(0), trees)
        return jax.tree.map(copied, compiled(*alone))

    return run


def _add_gradients(phase: Phase, placing: Placing) -> Callable:
    """Gradient, metrics and buffers added over all microbatches, and the new slots.

    Every device computes its own microbatches with whole parameters: left to the compiler,
    sampling the planes would gather the batch.
    """
    mesh, count = placing.mesh, placing.microbatches
    ways = mesh.shape["data"]
    if count % ways:
        raise ValueError(f"got {count} microbatches, expected a multiple of {ways} devices")
    here = count // ways

    def on_device(params, average, buffers, slots, batch, key, step):
        first = lax.axis_index("data") * here
        split = jax.tree.map(lambda x: x.reshape(here, -1, *x.shape[1:]), batch)

        def one(place):
            number, slot, some = place
            own = jax.random.fold_in(key, number)
            return _gradient(phase, Inputs(params, average, buffers, slot, some, own, step))

        places = (first + jnp.arange(here), slots, split)
        if placing.deterministic:
            each, slots = _map_alike(one, places, here, step)
            return _sum_in_order(lax.all_gather(each, "data", tiled=True), count), slots
        total, slots = _sum_here(one, places, here)
        return lax.psum(total, "data"), slots

    whole, rows = P(), P("data")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(whole, whole, whole, rows, rows, whole, whole),
        out_specs=(whole, rows),
        axis_names={"data"},
        check_vma=False,
    )


def _gradient(phase: Phase, inputs: Inputs) -> tuple[Sums, Any]:
    """Gradient and outcome of one microbatch, and its new slot."""

    def loss(moved):
        outcome = phase.loss(inputs._replace(params=inputs.params | {phase.group: moved}))
        return outcome.loss, outcome

    grad_fn = jax.value_and_grad(loss, has_aux=True)
    (value, outcome), gradient = grad_fn(inputs.params[phase.group])
    metrics = outcome.metrics | {"loss": value}
    slot = inputs.slot if outcome.slot is None else outcome.slot
    return Sums(gradient, metrics, outcome.buffers or {}), slot


def _sum_here(one: Callable, places, count: int) -> tuple[Sums, Any]:
    """Adds over the microbatches of a device, one after the other."""
    if count == 1:
        sums, slot = one(jax.tree.map(lambda x: x[0], places))
        return sums, jax.tree.map(lambda x: x[None], slot)
    shapes = jax.eval_shape(one, jax.tree.map(lambda x: x[0], places))[0]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(total, place):
        sums, slot = one(place)
        return jax.tree.map(jnp.add, total, sums), slot

    return lax.scan(add, zeros, places)


def _map_alike(one: Callable, places, count: int, step) -> tuple[Sums, Any]:
    """Results of all places, stacked, by a loop that compiles alike for any number of them.

    The compiler would dissolve a loop of one turn, or slices of a single row, and what it
    makes of the rest then rounds differently.
    """
    turns = count + jnp.minimum(step, 0)  # the compiler cannot know that a step is not negative
    if count == 1:
        places = jax.tree.map(lambda x: jnp.concatenate([x, x]), places)
    shapes = jax.eval_shape(one, jax.tree.map(lambda x: x[0], places))
    stacked = jax.tree.map(lambda x: jnp.zeros((max(count, 2), *x.shape), x.dtype), shapes)

    def turn(i, stacked):
        place = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), places)
        put = lambda all_, new: lax.dynamic_update_index_in_dim(all_, new, i, 0)
        return jax.tree.map(put, stacked, one(place))

    return jax.tree.map(lambda x: x[:count], lax.fori_loop(0, turns, turn, stacked))


def _sum_in_order(each: Sums, count: int) -> Sums:
    """Adds along the leading axis, first to last."""
    at = lambda i: jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), each)
    add = lambda i, total: jax.tree.map(jnp.add, total, at(i))
    return lax.fori_loop(1, count, add, at(0))
