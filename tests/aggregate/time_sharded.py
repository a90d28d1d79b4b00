"""What a child process with several devices finds out; see test_distributed."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from invertavatar_jax import settings
from invertavatar_jax.aggregate import conv_gru, distributed, fold, linear, min_conv_gru
from invertavatar_jax.aggregate.distributed import Spread
from invertavatar_jax.aggregate.registry import AGGREGATORS
from invertavatar_jax.compile import cost, hlo
from invertavatar_jax.encode import backbone, unet
from invertavatar_jax.pure import pure
from tests.encode.weights import draw

DEVICES, AXIS, CHANNELS = 4, "time", 3


def make_spread() -> Spread:
    devices = np.array(jax.devices()[:DEVICES])
    return Spread(Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,)), AXIS)


def scene(module: Any, count: int, **options: Any) -> tuple[Any, Any, Any]:
    """Gates, a memory and frames, the frames spread over the devices."""
    rng = np.random.default_rng(0)
    some = lambda *lead: rng.standard_normal((*lead, 2, 3, 4, CHANNELS), np.float32)
    weights = draw(functools.partial(module.init, **options), some(1), None)
    spread = NamedSharding(make_spread().mesh, PartitionSpec(AXIS))
    memory, frames = some(), some(count)
    gates = weights["params"]
    return gates.get("gates", gates), memory, jax.device_put(frames, spread)


def sequential_gru(gates, memory, frames):
    return fold.fold(conv_gru.update, gates, memory, frames)


def spread_gru(gates, memory, frames):
    return distributed.fold_over_devices(conv_gru.update, gates, memory, frames, make_spread())


def sequential_scan(gates, memory, frames):
    states, decay_drive = [], min_conv_gru.terms(gates, frames)
    for step in zip(*decay_drive, strict=True):
        memory = linear.apply(step, memory)
        states.append(memory)
    return jnp.stack(states), memory


def spread_scan(gates, memory, frames):
    steps = min_conv_gru.terms(gates, frames)
    return distributed.scan_over_devices(steps, memory, make_spread())


def with_gradient(function):
    def loss(*inputs):
        result = function(*inputs)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(result)), result

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))


def moved(program) -> tuple[dict[str, int], float]:
    found = cost.count(hlo.parse(program.as_text()))
    assert not found.unknown_loops
    return dict(found.collectives), found.moved


def difference(left, right) -> float:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def compare_with_sequential(module, options, sequential, spread) -> dict[str, Any]:
    inputs = scene(module, 2 * DEVICES, **options)
    program = with_gradient(spread).lower(*inputs).compile()
    (_, value), gradient = program(*inputs)
    (_, expected), wanted = with_gradient(sequential)(*jax.device_get(inputs))
    longer = with_gradient(spread).lower(*scene(module, 8 * DEVICES, **options)).compile()
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
    return {
        "value": difference(value, expected),
        "gradient": difference(gradient, wanted) / scale,
        "moved": moved(program),
        "moved_longer": moved(longer),
        "frames_bytes": inputs[2].nbytes,
        "replicated": jax.tree.leaves(value)[-1].sharding.is_fully_replicated,
    }


class Trunk(nn.Module):
    """What E_tri does with each frame before its decoder."""

    @nn.compact
    def __call__(self, frames):
        sizes = settings.preset("tiny").triplane_trunk
        return backbone.trunk_levels(sizes, linear.flat(frames), batch_statistics=False)


def trunk_collectives() -> tuple[dict[str, int], int]:
    """Of frames spread along time, and how many of them a device computes on."""
    network, mesh = pure(Trunk()), make_spread().mesh
    frames = jax.ShapeDtypeStruct((DEVICES, 1, 32, 32, 6), jnp.float32)
    weights = jax.eval_shape(network.init, jax.random.key(0), frames)
    placed = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    program = jax.jit(network.apply, in_shardings=placed).lower(weights, frames).compile()
    entry = program.output_shardings.entry.shard_shape((DEVICES, 2, 2, 16))
    return moved(program)[0], entry[0]


def compare_encoders(name: str) -> dict[str, Any]:
    """E_tri as a whole, on frames spread along time and on one device."""
    model, spread = settings.preset("tiny"), make_spread()
    plain = AGGREGATORS[name]
    run = {
        "conv_gru": distributed.fold_over_devices,
        "min_conv_gru": distributed.last_state,
        "diagonal": distributed.last_state,
    }[name]
    over = functools.partial(plain, run=functools.partial(run, spread=spread))
    one, many = (pure(unet.triplane_encoder(model, merge)) for merge in (plain, over))
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((2 * DEVICES, 1, 32, 32, 6), np.float32)
    weights = draw(one.init, frames[:1])
    placed = (
        NamedSharding(spread.mesh, PartitionSpec()),
        NamedSharding(spread.mesh, PartitionSpec(AXIS)),
    )
    run_many = jax.jit(many.apply, in_shardings=placed)
    programs = [
        run_many.lower(weights, np.resize(frames, (n, *frames.shape[1:]))).compile()
        for n in (len(frames), 2 * len(frames))
    ]
    expected, got = jax.jit(one.apply)(weights, frames), run_many(weights, frames)
    return {
        "apart": difference(got, expected),
        "moved": moved(programs[0]),
        "moved_longer": moved(programs[1]),
    }


def compare() -> dict[str, Any]:
    gru, seam = conv_gru.ConvGRU(), {"method": "fold"}
    minimal = min_conv_gru.MinConvGRU()
    return {
        "gru": compare_with_sequential(gru, {}, sequential_gru, spread_gru),
        "scan": compare_with_sequential(minimal, seam, sequential_scan, spread_scan),
        "trunk": trunk_collectives(),
    }
