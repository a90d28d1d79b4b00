"""One phase of an iteration, compiled once, on one device or many."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    differentiate: Any  # jitted, or Alike: state, batch, key -> sums, slots
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

    def update(old: Moving, sums: Sums):
        return _update(phase, group, placing.microbatches, old, sums)

    placed, everywhere = state_shardings(state, placing), NamedSharding(placing.mesh, P())
    params = placed.params[phase.group]
    moving = Moving(params, placed.opt_state[phase.group], everywhere)  # pyright: ignore
    summed = Sums(params, everywhere, everywhere)  # pyright: ignore[reportArgumentType]
    if placing.microbatches % placing.mesh.shape["data"]:
        raise ValueError(
            f"got {placing.microbatches} microbatches, expected a multiple of "
            f"{placing.mesh.shape['data']} devices"
        )
    if placing.deterministic:
        differentiated = _differentiate_alike(phase, placing)
        updated = _on_one_device(update, placing.mesh)
    else:
        shardings = dict(in_shardings=(placed, batch_sharding(placing), everywhere))
        shardings |= dict(out_shardings=(summed, placed.slots))
        differentiated = jax.jit(_differentiate(phase, placing), **shardings)
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
        each = lax.map(
            lambda some: measure(params, average, buffers, some, key), _split(batch, here)
        )
        return lax.pmean(jax.tree.map(lambda x: x.mean(), each), "data")

    mapped = _map_devices(on_device, placing, (P(), P(), P(), P("data"), P()), P())
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


def _differentiate(phase: Phase, placing: Placing) -> Callable:
    """Gradient, metrics and buffers added over all microbatches, and the new slots.

    Every device computes its own microbatches with whole parameters: left to the compiler,
    sampling the planes would gather the batch.
    """
    here = placing.microbatches // placing.mesh.shape["data"]

    def on_device(trees, slots, batch, key, step):
        first = lax.axis_index("data") * here
        places = first + jnp.arange(here), slots, _split(batch, here)
        total, slots = _sum_here(_microbatch(phase, trees, key, step), places, here)
        return lax.psum(total, "data"), slots

    whole, rows = P(), P("data")
    mapped = _map_devices(on_device, placing, (whole, rows, rows, whole, whole), (whole, rows))

    def differentiate(state: TrainState, batch, key):
        trees = state.params, state.average, state.buffers
        return mapped(trees, state.slots, batch, key, state.step)

    return differentiate


class Alike(NamedTuple):
    """As `_differentiate`, to the same bits on any number of devices.

    Gradients come from one and the same program of a single device, which every device runs on
    its own microbatches: a compiler that knows of several devices makes other programs, which
    round differently. What devices exchange is moved, and added first to last.
    """

    mesh: Mesh
    here: int  # microbatches of a device
    spread: Any  # jitted: slots and batch, whole on every device
    compute: Any  # jitted, for one device; by far the most work
    combine: Any  # jitted: every device's own results -> sums and new slots

    def __call__(self, state: TrainState, batch, key):
        """Sums and new slots."""
        return self.combine(*self._results(state, batch, key), self._firsts())

    def lower(self, state: TrainState, batch, key) -> jax.stages.Lowered:
        """The gradients' program."""
        return self.compute.lower(*next(self._inputs(state, batch, key)))

    def compile(self, state: TrainState, batch, key) -> None:
        """Compiles the gradients' program for all devices of the process, which runs it."""
        jax.block_until_ready(self._results(state, batch, key))

    def _cache_size(self) -> int:
        return self.compute._cache_size()

    def _inputs(self, state: TrainState, batch, key):
        trees = state.params, state.average, state.buffers
        given = trees, *self.spread(state.slots, batch), state.step
        for row, devices in enumerate(self.mesh.devices):
            span = np.array([row, row + 1], np.int32) * self.here
            for device in devices.flat:
                if device.process_index == jax.process_index():
                    yield *jax.tree.map(lambda x, at=device: _on(x, at), given), key, span

    def _results(self, state: TrainState, batch, key):
        each = [self.compute(*inputs) for inputs in self._inputs(state, batch, key)]
        rows, ways = NamedSharding(self.mesh, P("data")), self.mesh.shape["data"]

        def stack(*some):
            shape = (ways * len(some[0]), *some[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, rows, some)

        return jax.tree.map(stack, *each)

    def _firsts(self) -> jax.Array:
        """The number of each device's first microbatch, on that device."""
        first = np.arange(self.mesh.shape["data"], dtype=np.int32) * self.here
        rows = NamedSharding(self.mesh, P("data"))
        return jax.make_array_from_callback(first.shape, rows, first.__getitem__)


def _on(x: jax.Array, device) -> jax.Array:
    """An array that is whole on every device, as one of them has it."""
    return next(shard.data for shard in x.addressable_shards if shard.device == device)


def _differentiate_alike(phase: Phase, placing: Placing) -> Alike:
    count = placing.microbatches
    here = count // placing.mesh.shape["data"]

    def compute(trees, slots, batch, step, key, span):
        places = jnp.arange(count), slots, _split(batch, count)
        return _map_some(_microbatch(phase, trees, key, step), places, *span)

    def combine(each: Sums, slots, first):
        own = lambda x: lax.dynamic_slice_in_dim(x, first[0], here)
        each, slots = jax.tree.map(own, (each, slots))
        return _sum_in_order(lax.all_gather(each, "data", tiled=True), count), slots

    whole, rows = P(), P("data")
    everywhere = NamedSharding(placing.mesh, whole)
    return Alike(
        placing.mesh,
        here,
        jax.jit(lambda *trees: trees, out_shardings=everywhere),
        jax.jit(compute),
        jax.jit(_map_devices(combine, placing, (rows,) * 3, (whole, rows))),
    )


def _map_devices(function: Callable, placing: Placing, in_specs, out_specs) -> Callable:
    """The function as every device of the data axis computes it."""
    return jax.shard_map(
        function,
        mesh=placing.mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names={"data"},
        check_vma=False,
    )


def _split(batch, count: int):
    """A batch as `count` microbatches."""
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)


def _microbatch(phase: Phase, trees, key, step) -> Callable:
    """The function from number, slot and rows of a microbatch to its gradient and new slot."""

    def one(place):
        number, slot, some = place
        own = jax.random.fold_in(jax.random.fold_in(key, step), number)
        return _gradient(phase, Inputs(*trees, slot, some, own, step))

    return one


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


def _map_some(one: Callable, places, first, last) -> tuple[Sums, Any]:
    """Results of the places from first to last - 1, stacked among zeros for the others."""
    shapes = jax.eval_shape(one, jax.tree.map(lambda x: x[0], places))
    count = len(places[0])
    stacked = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), shapes)

    def turn(i, stacked):
        place = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), places)
        put = lambda all_, new: lax.dynamic_update_index_in_dim(all_, new, i, 0)
        return jax.tree.map(put, stacked, one(place))

    return lax.fori_loop(first, last, turn, stacked)


def _sum_in_order(each: Sums, count: int) -> Sums:
    """Adds along the leading axis, first to last."""
    at = lambda i: jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), each)
    add = lambda i, total: jax.tree.map(jnp.add, total, at(i))
    return lax.fori_loop(1, count, add, at(0))
