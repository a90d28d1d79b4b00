"""Thousands of frames in float32 and in bfloat16: do rounding errors add up?"""

import copy
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from matplotlib.axes import Axes
from tqdm import tqdm

from experiments.long_sequences.study import Part, Row, Sitting, State, Study, by
from experiments.long_sequences.systems import System, distance
from invertavatar_jax import inversion, networks
from invertavatar_jax.generator import Features
from invertavatar_jax.metrics import image

EXACT, BETWEEN = "float32", "bfloat16 networks"


class Precision(NamedTuple):
    """What E_tex and E_tri compute in, and whether the memory is rounded after each frame."""

    compute: str
    rounded: bool


PRECISIONS = {
    EXACT: Precision("float32", rounded=False),
    BETWEEN: Precision("bfloat16", rounded=False),
    "bfloat16 networks and memory": Precision("bfloat16", rounded=True),
}


def with_precision(system: System, precision: Precision) -> System:
    """The system, computing in another precision."""
    nets = networks.build(system.sizes, compute=precision.compute)
    # not a cast there and back, which the compiler may leave out
    narrow = lambda x: lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)

    def step(*inputs: Any):
        made = inversion.apply_unets(nets, *inputs)
        if not precision.rounded:
            return made
        states = jax.tree.map(narrow, (made.texture_state, made.triplane_state))
        return made._replace(texture_state=states[0], triplane_state=states[1])

    other = copy.copy(system)
    other.refine = jax.jit(step)
    return other


def run(study: Study) -> list[Row]:
    """The first of the systems and the first person; a row for each precision and number.

    `apart` is the distance of the canonical features from those of float32 after as many
    frames, in units of what the frames had changed about the coarse avatar.
    """
    system = next((one for one in study.systems.values() if one.window is None), None)
    if system is None:
        return []
    person = next(study.people())
    begun = Sitting(system, person)
    exact: dict[int, tuple[Features, np.ndarray]] = {}
    rows = []
    for name, precision in PRECISIONS.items():
        sitting = copy.copy(begun)
        sitting.system = with_precision(system, precision)
        counts = study.amounts.drifting
        if name == BETWEEN:  # which of both roundings it is shows earlier
            counts = counts[:-1]
        if not counts:
            continue
        for count, state in _follow(sitting, counts, name):
            maps, images = sitting.maps(state)[0], sitting.images(state)
            truth, shown = exact.setdefault(count, (maps, images))
            everywhere = np.ones(images.shape[1:3], bool)
            same = [image.psnr(a, b, everywhere) for a, b in zip(images, shown, strict=True)]
            row = {"system": system.name, "precision": name, "frames": count}
            row |= {"memory_rms": _rms(state), "psnr_to_float32": float(np.mean(same))}
            row["apart"] = distance(maps, truth) / distance(truth, sitting.begun.memory.coarse)
            rows.append(row)
    return rows


def _follow(sitting: Sitting, counts: Sequence[int], name: str):
    """States after some numbers of frames."""
    state = State()
    for count in tqdm(range(1, counts[-1] + 1), desc=f"drift, {name}", unit="frame"):
        # as often as a stream would be waited for; what is not yet computed takes room
        state = jax.block_until_ready(sitting.fold(state, count - 1))
        if count in counts:
            yield count, state


def _rms(state: State) -> float:
    kept = state.refinement
    assert kept is not None, "no frame is folded in"
    leaves = jax.tree.leaves((kept.texture_state, kept.triplane_state))
    squares = sum(float((leaf**2).sum()) for leaf in leaves)
    return float(np.sqrt(squares / sum(leaf.size for leaf in leaves)))


def answer(rows: Sequence[Row]) -> str:
    """How far bfloat16 is from float32 at the end, and whether it has got worse on the way."""
    if not rows:
        return "None of the systems has a memory."
    return " ".join(_about(name, some) for name, some in by(rows, "system").items())


def _about(system: str, rows: Sequence[Row]) -> str:
    said = []
    for name, some in itertools.islice(by(rows, "precision").items(), 1, None):
        first, last = some[0], some[-1]
        said.append(
            f"{name} after {last['frames']} frames {last['apart']:.1%} ({first['apart']:.1%} "
            f"after {first['frames']}; images agree to {last['psnr_to_float32']:.1f} dB)"
        )
    rms = [row["memory_rms"] for row in by(rows, "precision")[EXACT]]
    return (
        f"Features of {system} are away from those of float32, in parts of the refinement: "
        f"{'; '.join(said)}; the float32 memory goes from {rms[0]:.3f} to {rms[-1]:.3f} in size."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Size of the memory, distance from float32, and agreement of the images."""
    values = ("memory_rms", "apart", "psnr_to_float32")
    for axis, value in zip(axes, values, strict=True):
        for (system, name), some in by(rows, "system", "precision").items():
            if value == "memory_rms" or name != EXACT:
                points = [r["frames"] for r in some], [r[value] for r in some]
                axis.plot(*points, "o-", label=f"{system}, {name}")
        axis.set(xlabel="frames", xscale="log")
    axes[0].legend(fontsize=7)


PART = Part(
    "Do rounding errors add up over ten thousand frames?",
    run,
    answer,
    (
        "root mean square of the memory",
        "features: distance from float32, in parts of the refinement",
        "PSNR to the images of float32 (dB)",
    ),
    draw,
)
