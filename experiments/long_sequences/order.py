"""Order of the frames: the first stays where it is, as E_latent reads no other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.long_sequences.study import Part, Row, State, Study, by, mean
from experiments.long_sequences.systems import distance

IN_TIME = "sequential"


def orders(count: int, drawn: int, seed: int) -> dict[str, list[int]]:
    """Orders of `count` frames by name; all begin with frame 0."""
    rest = list(range(1, count))
    rng = np.random.default_rng(seed)
    return {
        IN_TIME: [0, *rest],
        "interleaved": [0, *rest[1::2], *rest[::2]],
        "reversed": [0, *rest[::-1]],
        **{f"random {i}": [0, *rng.permutation(rest).tolist()] for i in range(drawn)},
    }


def run(study: Study) -> list[Row]:
    """A row for each system, person and order.

    `apart` is the distance of the canonical features from those of the order in time, in units
    of what the frames had changed about the coarse avatar.
    """
    amounts, rows = study.amounts, []
    chosen = orders(amounts.ordered, amounts.random_orders, study.seed)
    for sitting in study.sittings("order"):
        in_time = None
        for name, numbers in chosen.items():
            state = State()
            for number in numbers:
                state = sitting.fold(state, number)
            maps = sitting.maps(state)[0]
            in_time = maps if in_time is None else in_time
            row = {"system": sitting.system.name, "person": sitting.person.name, "order": name}
            row["apart"] = distance(maps, in_time) / distance(in_time, sitting.begun.memory.coarse)
            rows.append(row | sitting.score(state))
    return rows


def spreads(rows: Sequence[Row]) -> list[Row]:
    """The range of PSNR over all orders, for each system and person."""
    found = []
    for (system, person), some in by(rows, "system", "person").items():
        scores = [row["psnr"] for row in some]
        found.append({"system": system, "person": person, "range": max(scores) - min(scores)})
    return found


def answer(rows: Sequence[Row]) -> str:
    """How far the order moves each system."""
    means = {name: mean(some, "range").mean for name, some in by(spreads(rows), "system").items()}
    said = []
    for system, some in by(rows, "system").items():
        others = [row for row in some if row["order"] != IN_TIME]
        said.append(f"{system} {means[system]:.2f} dB ({mean(others, 'apart').mean:.0%})")
    return (
        f"Between the best and the worst of {len(by(rows, 'order'))} orders lie, with the mean "
        f"change of the features in parts of the refinement: {', '.join(said)}."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """A mark for every order and person, relative to the order in time."""
    whom = by(rows, "system")
    for at, some in enumerate(whom.values()):
        base = {row["person"]: row["psnr"] for row in some if row["order"] == IN_TIME}
        kinds = by([{**row, "kind": row["order"].split()[0]} for row in some], "kind")
        colours = dict(zip(kinds, ("black", "tab:blue", "tab:red", "0.7"), strict=True))
        for kind, colour in reversed(colours.items()):  # the many below the few
            apart = [row["psnr"] - base[row["person"]] for row in kinds[kind]]
            features = [row["apart"] for row in kinds[kind]]
            options = {"ms": 18, "color": colour, "label": kind if at == 0 else None}
            for axis, values in zip(axes, (apart, features), strict=True):
                axis.plot([at] * len(values), values, "_", **options)
    for axis in axes:
        axis.set_xticks(range(len(whom)), list(whom), rotation=30, ha="right", fontsize=7)
    axes[0].legend(fontsize=7)


PART = Part(
    "Does the order of the frames matter? (the first frame is the same in all orders)",
    run,
    answer,
    ("PSNR beside the order in time (dB)", "change of the features, in parts of the refinement"),
    draw,
)
