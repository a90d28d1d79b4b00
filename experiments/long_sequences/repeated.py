"""One frame, again and again: nothing new is said, so nothing should change."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from experiments.long_sequences.study import Part, Row, State, Study, by, curves, mean
from experiments.long_sequences.systems import distance


def run(study: Study) -> list[Row]:
    """How far the avatar is from the one of the frame alone.

    `moved` is the distance of their canonical features, in units of what the frame itself had
    changed about the coarse avatar.
    """
    rows, repeats = [], study.amounts.repeats
    for sitting in study.sittings("repeated"):
        state = sitting.fold(State(), 0)
        alone = sitting.maps(state)[0]
        size = distance(alone, sitting.begun.memory.coarse)
        for count in range(1, repeats[-1] + 1):
            if count > 1:
                state = sitting.fold(state, 0)
            if count in repeats:
                maps, state = sitting.maps(state)
                row = {"system": sitting.system.name, "person": sitting.person.name}
                row |= {"repeats": count, "moved": distance(maps, alone) / size}
                rows.append(row | sitting.score(state))
    return rows


def answer(rows: Sequence[Row]) -> str:
    """How far each system drifts, and what that does to the score."""
    last = rows[-1]["repeats"]
    said = []
    for system, some in by(rows, "system").items():
        ends = by(some, "repeats")
        change = mean(ends[last], "psnr").mean - mean(ends[rows[0]["repeats"]], "psnr").mean
        said.append(f"{system} {mean(ends[last], 'moved').mean:.0%} ({change:+.2f} dB)")
    return (
        f"After {last} times the same frame the refinement has moved, in parts of its size: "
        f"{', '.join(said)}."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """The distance and the score over the repeats."""
    for axis, value in zip(axes, ("moved", "psnr"), strict=True):
        curves(axis, rows, "repeats", value)
        axis.set_xscale("log", base=2)
    axes[0].legend(fontsize=7)


PART = Part(
    "If one frame is repeated, does the avatar drift from the one-frame avatar?",
    run,
    answer,
    ("moved (1 = as much as the frame itself did)", "PSNR of held-out frames (dB)"),
    draw,
)
