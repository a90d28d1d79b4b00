"""What folding costs as clips grow: time, room, and the depth of the compiled program."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.axes import Axes
from tqdm import tqdm

from experiments.benchmarks.measure import temporary_mib
from experiments.long_sequences.study import Part, Row, Study, by, words
from invertavatar_jax import settings
from invertavatar_jax.aggregate import linear
from invertavatar_jax.aggregate.registry import AGGREGATORS
from invertavatar_jax.compile import cost, hlo

ROUNDS = 3
# how each of those aggregators folds that have more than one way, or one step per frame
WAYS: dict[str, dict[str, Any]] = {
    "conv_gru": {"in turn": {}},
    "min_conv_gru": {"in turn": {"run": linear.in_turn}, "at once": {"run": linear.at_once}},
    "diagonal": {"in turn": {"run": linear.in_turn}, "at once": {"run": linear.at_once}},
}
FREE = {"bitcast", "constant", "get-tuple-element", "parameter", "tuple"}


def depth(module: hlo.Module) -> int:
    """Instructions of the longest chain in which each waits for the one before.

    A loop is as deep as its body times its length; what is fused is one instruction.

    Raises:
        ValueError: the length of a loop is not known.
    """

    @functools.cache
    def of(name: str) -> int:
        ends: dict[str, int] = {}
        for one in module.computations[name].values():
            before = max((ends[operand] for operand in one.operands if operand in ends), default=0)
            ends[one.name] = before + own(one)
        return max(ends.values())

    def own(one: hlo.Instruction) -> int:
        if one.opcode == "while":
            length = cost.loop_length(module, one)
            if length is None:
                raise ValueError(f"the length of the loop {one.name} is not known")
            return length * of(one.called("body")[0])
        if one.opcode in ("call", "conditional"):
            called = one.called("to_apply", "branch_computations", "calls")
            return max((of(name) for name in called), default=1)
        return 0 if one.opcode in FREE else 1

    return of(module.entry)


def measure(fold: Callable[..., Any], *inputs: Any) -> Row:
    """Time, room and form of a compiled function."""
    program = jax.jit(fold).lower(*inputs).compile()
    jax.block_until_ready(program(*inputs))
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        jax.block_until_ready(program(*inputs))
        seconds.append(time.perf_counter() - begin)
    module = hlo.parse(program.as_text())
    instructions = [one for part in module.computations.values() for one in part.values()]
    return {
        "ms": 1e3 * sorted(seconds)[ROUNDS // 2],
        "temporary_mib": temporary_mib(program),
        "instructions": len(instructions),
        "loops": sum(one.opcode == "while" for one in instructions),
        "depth": depth(module),
    }


def run(study: Study) -> list[Row]:
    """The finest level of the decoders by itself, with random weights and frames."""
    sizes = next(iter(study.systems.values())).sizes
    named = [(name, way) for name in WAYS for way in WAYS[name]]
    rows = []
    for name, way in tqdm(named, desc="scans", unit="program"):
        for count in study.amounts.scans:
            module = AGGREGATORS[name](**WAYS[name][way])
            frames = level(sizes, count)
            weights = module.init(jax.random.key(0), frames[:1], None, method="fold")
            memory = jnp.zeros(frames.shape[1:])
            fold = lambda weights, frames, memory, module=module: module.apply(
                weights, frames, memory, method="fold"
            )[1]
            found = measure(fold, weights, frames, memory)
            found["ms_per_frame"] = found.pop("ms") / count
            rows.append({"system": name, "way": way, "frames": count, **found})
    return rows


def level(sizes: settings.Model, count: int) -> jax.Array:
    """Frames of the size that the finest aggregator reads."""
    side, channels = sizes.backbone.resolution // 2, sizes.texture_decoder.channels[-1]
    return jax.random.normal(jax.random.key(1), (count, 1, side, side, channels))


def answer(rows: Sequence[Row]) -> str:
    """How depth, time and room grow from the shortest to the longest clip."""
    said = []
    for (system, way), some in by(rows, "system", "way").items():
        first, last = some[0], some[-1]
        said.append(
            f"{system} {way}: depth {first['depth']} to {last['depth']}, "
            f"{first['ms_per_frame']:.2f} to {last['ms_per_frame']:.2f} ms per frame, "
            f"{first['temporary_mib']:.1f} to {last['temporary_mib']:.1f} MiB"
        )
    return f"From {rows[0]['frames']} to {rows[-1]['frames']} frames: {words(said)}."


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Depth, time and room over the number of frames."""
    values = ("depth", "ms_per_frame", "temporary_mib")
    for axis, value in zip(axes, values, strict=True):
        for (system, way), some in by(rows, "system", "way").items():
            points = [row["frames"] for row in some], [row[value] for row in some]
            axis.plot(*points, "o-" if way == "in turn" else "s--", label=f"{system}, {way}")
        axis.set(xlabel="frames", yscale="log")
        axis.set_xscale("log", base=2)
    axes[0].legend(fontsize=7)


PART = Part(
    "What does a fold cost as clips grow? (the finest level alone)",
    run,
    answer,
    ("depth: instructions one after the other", "ms per frame", "temporary memory (MiB)"),
    draw,
)
