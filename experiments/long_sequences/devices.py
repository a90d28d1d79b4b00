"""Frames spread over eight devices along time: what is exchanged, and what changes."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from matplotlib.axes import Axes

from experiments.determinism.child import Child
from experiments.long_sequences.study import Part, Row, Study, by, words
from invertavatar_jax.aggregate import distributed
from invertavatar_jax.aggregate.distributed import Spread
from invertavatar_jax.aggregate.registry import AGGREGATORS
from invertavatar_jax.compile import cost, hlo

DEVICES, AXIS = 8, "time"
MOST = 1e-5  # that value and gradient may differ by
SHAPE = (1, 8, 8, 8)  # of a frame's features
RUNS = {
    "conv_gru": distributed.fold_over_devices,
    "min_conv_gru": distributed.last_state,
    "diagonal": distributed.last_state,
}


def compare(name: str, count: int) -> Row:
    """One aggregator on all devices of this process and on one: value, gradient and exchange.

    Differences are the largest of all numbers, in parts of the largest value.
    """
    devices = np.array(jax.devices()[:DEVICES])
    spread = Spread(Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,)), AXIS)
    run = functools.partial(RUNS[name], spread=spread)
    one, many = AGGREGATORS[name](), AGGREGATORS[name](run=run)
    key_weights, key_frames, key_memory = jax.random.split(jax.random.key(0), 3)
    frames = jax.random.normal(key_frames, (count, *SHAPE))
    weights = one.init(key_weights, frames[:1], None, method="fold")
    memory = jax.random.normal(key_memory, SHAPE)
    placed = jax.device_put(frames, NamedSharding(spread.mesh, PartitionSpec(AXIS)))
    program = _with_gradient(many).lower(weights, placed, memory).compile()
    (_, value), gradient = program(weights, placed, memory)
    (_, expected), wanted = _with_gradient(one)(weights, frames, memory)
    found = cost.count(hlo.parse(program.as_text()))
    if found.unknown_loops:
        raise ValueError(f"{name}: {found.unknown_loops} loops of unknown length")
    return {
        "system": name,
        "frames": count,
        "moved_bytes": found.moved,
        "collectives": dict(found.collectives),
        "frames_bytes": frames.nbytes,
        "value_difference": _apart(value, expected),
        "gradient_difference": _apart(gradient, wanted),
    }


def _with_gradient(module: Any):
    def loss(weights, frames, memory):
        made = module.apply(weights, frames, memory, method="fold")[0]
        return jnp.sum(made**2), made

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))


def _apart(left: Any, right: Any) -> float:
    pairs = [
        (np.asarray(a), np.asarray(b))
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    ]
    scale = max(float(np.abs(b).max()) for _, b in pairs)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / scale


def compare_all(names: Sequence[str], counts: Sequence[int]) -> list[Row]:
    """`compare` for every aggregator and number of frames."""
    return [compare(name, count) for name in names for count in counts]


def run(study: Study) -> list[Row]:
    """Aggregators with random weights, in a process of its own, which has as many devices."""
    amounts = study.amounts
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    ended = Child(compare_all, amounts.spread, amounts.scans, environment=flags).join()
    if ended.answer is None:
        raise RuntimeError(f"the devices' process ended with code {ended.code}:\n{ended.output}")
    return ended.answer


def answer(rows: Sequence[Row]) -> str:
    """What is exchanged, and the largest differences."""
    said = []
    for system, some in by(rows, "system").items():
        moved = sorted({row["moved_bytes"] for row in some})
        kib = " to ".join(f"{x / 1024:.1f}" for x in dict.fromkeys((moved[0], moved[-1])))
        worst = [
            max(row[key] for row in some) for key in ("value_difference", "gradient_difference")
        ]
        said.append(
            f"{system} moves {kib} KiB, value and gradient differ by {worst[0]:.0e} and "
            f"{worst[1]:.0e}"
        )
    counts = by(rows, "frames")
    return f"For {min(counts)} to {max(counts)} frames on {DEVICES} devices {words(said)}."


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Bytes exchanged, beside those of the frames; differences from one device."""
    for system, some in by(rows, "system").items():
        counts = [row["frames"] for row in some]
        axes[0].plot(counts, [row["moved_bytes"] for row in some], "o-", label=system)
        axes[1].plot(counts, [row["gradient_difference"] for row in some], "o-", label=system)
    frames = by(rows, "frames")
    sizes = [some[0]["frames_bytes"] for some in frames.values()]
    axes[0].plot(list(frames), sizes, "k:", label="the frames themselves")
    axes[0].legend(fontsize=7)
    axes[0].set_yscale("log")
    axes[1].axhline(MOST, color="tab:red", linestyle="--")
    axes[1].set_yscale("symlog", linthresh=1e-9)
    axes[1].set_ylim(bottom=0)
    for axis in axes:
        axis.set_xlabel("frames")
        axis.set_xscale("log", base=2)


PART = Part(
    "What do devices exchange when a clip is spread over them, and does the result change?",
    run,
    answer,
    ("bytes exchanged, forth and back", "largest difference of the gradient"),
    draw,
)
