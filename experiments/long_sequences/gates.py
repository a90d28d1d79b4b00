"""What the gates of the recurrent aggregators do, and how many frames a level remembers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from experiments.long_sequences.study import Part, Row, State, Study, by, words
from experiments.long_sequences.systems import Reading, System
from invertavatar_jax.aggregate import conv_gru, diagonal, min_conv_gru
from invertavatar_jax.encode.decoder import DoubleConv
from invertavatar_jax.inversion import Refinement
from invertavatar_jax.pure import part

NETWORKS = ("texture_unet", "triplane_unet")
CAPTURED = "intermediates"
LONGEST = 10_000.0  # frames; gates that are shut for good remember forever
Level = Float[Array, "b h w c"]
Updates = dict[str, list[Level]]  # of both networks, deepest level first


def _of_conv_gru(weights: Any, memory: Level, x: Level) -> Level:
    both = conv_gru.apply_gate(weights["ih_0"], jnp.concatenate([x, memory], -1))
    return jnp.split(jax.nn.sigmoid(both), 2, axis=-1)[1]


def _of_min_conv_gru(weights: Any, memory: Level, x: Level) -> Level:
    return 1 - min_conv_gru.terms(weights["gates"], x[None])[0][0]


def _of_diagonal(weights: Any, memory: Level, x: Level) -> Level:
    return 1 - diagonal.terms(weights, x[None])[0][0]


# the part of a memory that a frame replaces, of those whose memory is one array per level
UPDATES: dict[str, Callable[[Any, Level, Level], Level]] = {
    "conv_gru": _of_conv_gru,
    "min_conv_gru": _of_min_conv_gru,
    "diagonal": _of_diagonal,
}


def make_updates(system: System) -> Callable[[Any, Refinement, Reading], Updates]:
    """Compiles: weights of the U-Nets, memories, a frame -> what it replaces of each level."""
    name = system.sizes.texture_decoder.aggregator
    convolved = lambda module, method: isinstance(module, DoubleConv)

    def of_network(network: str, unets: Any, memory: Any, frame: Array) -> list[Level]:
        weights, net = part(unets, network), getattr(system.nets, network)
        _, kept = net.apply(
            weights, frame, memory, capture_intermediates=convolved, mutable=CAPTURED
        )
        found = []
        for i, before in enumerate(memory):
            up = f"up{i + 1}"
            (x,) = kept[CAPTURED][up]["conv"]["__call__"]
            found.append(UPDATES[name](weights["params"][up][name], before, x))
        return found

    @jax.jit
    def updates(unets: Any, before: Refinement, reading: Reading) -> Updates:
        texture = of_network(NETWORKS[0], unets, before.texture_state, reading.texture)
        triplane = of_network(NETWORKS[1], unets, before.triplane_state, reading.planes)
        return dict(zip(NETWORKS, (texture, triplane), strict=True))

    return updates


def run(study: Study) -> list[Row]:
    """Means of the update gates, and 1 / mean: how many frames are remembered.

    The length of a channel is 1 over its update, averaged over frames and pixels; the row
    holds the median of a level's channels and their 10th and 90th percentile. LONGEST is where
    lengths are cut.
    """
    rows = []
    named = {name: one for name, one in study.systems.items() if name in UPDATES}
    compiled = {name: make_updates(system) for name, system in named.items()}
    for sitting in study._replace(systems=named).sittings("gates"):
        state = sitting.fold(State(), 0)
        seen: dict[tuple[str, int], list[np.ndarray]] = {}
        for number in range(1, study.amounts.gated + 1):
            system, reading = sitting.system, sitting.reading(number)
            found = compiled[system.name](system.unets, state.refinement, reading)
            for network, levels in found.items():
                for level, z in enumerate(levels):
                    seen.setdefault((network, level), []).append(np.asarray(z).mean((0, 1, 2)))
            state = sitting.fold(state, number)
        sides = [leaf.shape[1] for leaf in state.refinement.texture_state]
        for (network, level), values in seen.items():
            length = 1 / np.maximum(np.mean(values, 0), 1 / LONGEST)
            few, median, many = np.percentile(length, (10, 50, 90))
            rows.append(
                {
                    "system": sitting.system.name,
                    "person": sitting.person.name,
                    "network": network,
                    "side": sides[level],
                    "update": float(np.mean(values)),
                    "length": float(median),
                    "length_p10": float(few),
                    "length_p90": float(many),
                }
            )
    return rows


def answer(rows: Sequence[Row]) -> str:
    """Lengths of the deepest and the finest levels."""
    if not rows:
        return "None of the systems has a gate."
    said = []
    for system, some in by(rows, "system").items():
        means = {
            side: np.mean([row["length"] for row in found])
            for side, found in by(some, "side").items()
        }
        said.append(
            f"{system} {means[min(means)]:.1f} frames at {min(means)} x {min(means)} and "
            f"{means[max(means)]:.1f} at {max(means)} x {max(means)}"
        )
    return f"By the mean of its update gates the median channel remembers: {words(said)}."


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Lengths over the levels, medians with the range of most channels."""
    for axis, network in zip(axes, NETWORKS, strict=True):
        for system, some in by([r for r in rows if r["network"] == network], "system").items():
            found = by(some, "side")
            average = lambda value, found=found: [
                np.mean([row[value] for row in rows]) for rows in found.values()
            ]
            (line,) = axis.plot(list(found), average("length"), "o-", label=system)
            bounds = average("length_p10"), average("length_p90")
            axis.fill_between(list(found), *bounds, color=line.get_color(), alpha=0.12)
        axis.set(xlabel="side of the level", xscale="log", yscale="log")
        axis.set_xscale("log", base=2)
    if rows:
        axes[0].legend(fontsize=7)


PART = Part(
    "What do the gates do: how many frames does a level remember?",
    run,
    answer,
    ("E_tex: frames remembered (1 / update)", "E_tri: frames remembered"),
    draw,
)
