"""Order of the frames: the first stays where it is, as E_latent reads no other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.long_sequences.study import Part, Row, State, Study, by, mean

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
    """A row for each system, person and order."""
    amounts, rows = study.amounts, []
    chosen = orders(amounts.ordered, amounts.random_orders, study.seed)
    for sitting in study.sittings("order"):
        for name, numbers in chosen.items():
            state = State()
            for number in numbers:
                state = sitting.fold(state, number)
            row = {"system": sitting.system.name, "person": sitting.person.name}
            rows.append({**row, "order": name, **sitting.score(state)})
    return rows


def spreads(rows: Sequence[Row]) -> list[Row]:
    """The range of PSNR over all orders, for each system and person."""
    found = []
    for (system, person), some in by(rows, "system", "person").items():
        scores = [row["psnr"] for row in some]
        found.append({"system": system, "person": person, "range": max(scores) - min(scores)})
    return found


def answer(rows: Sequence[Row]) -> str:
    """Whom the order moves most and least."""
    means = {name: mean(some, "range").mean for name, some in by(spreads(rows), "system").items()}
    most, least = (pick(means, key=lambda name: means[name]) for pick in (max, min))
    return (
        f"Between the best and the worst of {len(by(rows, 'order'))} orders lie "
        f"{means[most]:.2f} dB for {most}, the most, and {means[least]:.2f} dB for {least}, "
        "the least."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Every order as a point, relative to the order in time."""
    whom = by(rows, "system")
    for at, some in enumerate(whom.values()):
        base = {row["person"]: row["psnr"] for row in some if row["order"] == IN_TIME}
        kinds = by([{**row, "kind": row["order"].split()[0]} for row in some], "kind")
        for kind, colour in zip(kinds, ("black", "tab:blue", "tab:red", "0.7"), strict=True):
            apart = [row["psnr"] - base[row["person"]] for row in kinds[kind]]
            label = kind if at == 0 else None
            axes[0].plot([at] * len(apart), apart, "_", ms=18, color=colour, label=label)
    axes[0].set_xticks(range(len(whom)), list(whom), rotation=30, ha="right", fontsize=7)
    axes[0].legend(fontsize=7)


PART = Part(
    "Does the order of the frames matter? (the first frame is the same in all orders)",
    run,
    answer,
    ("PSNR beside the order in time (dB), a mark per order and person",),
    draw,
)
