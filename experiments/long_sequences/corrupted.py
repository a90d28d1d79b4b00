"""A frame that shows something else, and how long the avatar suffers from it."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.long_sequences.people import Person
from experiments.long_sequences.study import (
    Part,
    Row,
    Sitting,
    State,
    Study,
    by,
    curves,
    mean,
    words,
)
from experiments.long_sequences.systems import Reading, distance
from invertavatar_jax.avatar import Observation

Corrupt = Callable[[Observation, Person, np.random.Generator], Observation]


def _noise(seen: Observation, other: Person, rng: np.random.Generator) -> Observation:
    return seen._replace(image=rng.integers(0, 256, seen.image.shape, np.uint8))


def _black(seen: Observation, other: Person, rng: np.random.Generator) -> Observation:
    return seen._replace(image=np.zeros_like(seen.image))


def _stranger(seen: Observation, other: Person, rng: np.random.Generator) -> Observation:
    """The other's frame with the other's tracking, as if the wrong face had been followed."""
    return other.observation(0)


KINDS: dict[str, Corrupt] = {"noise": _noise, "another person": _stranger, "black": _black}


def run(study: Study) -> list[Row]:
    """What is lost, in dB and in features, beside the fold of the same clip without the fault.

    `apart` is the distance of the canonical features of both, in units of what the frames had
    changed about the coarse avatar.
    """
    rows = []
    others = dict(zip((clip.name for clip in study.clips), _neighbours(study), strict=True))
    for sitting in study.sittings("corrupted"):
        rng = np.random.default_rng(study.seed)
        person, at = sitting.person, study.amounts.corrupted_at
        clean = _follow(sitting, study, sitting.reading(at))
        scores = {after: sitting.score(state)["psnr"] for after, state in clean.items()}
        for kind, corrupt in KINDS.items():
            seen = corrupt(person.observation(at), others[person.name], rng)
            spoilt = sitting.system.read(sitting.begun, person.prepare(seen))
            for after, state in _follow(sitting, study, spoilt).items():
                row = {"system": sitting.system.name, "person": person.name, "kind": kind}
                row |= {"after": after, "apart": _apart(sitting, state, clean[after])}
                row["lost_db"] = scores[after] - sitting.score(state)["psnr"]
                rows.append(row)
    return rows


def _neighbours(study: Study) -> list[Person]:
    people = list(study.people())
    return [*people[1:], people[0]]


def _follow(sitting: Sitting, study: Study, reading: Reading) -> dict[int, State]:
    """The states that are looked at, by the number of frames after the corrupted one."""
    at, recovery = study.amounts.corrupted_at, study.amounts.recovery
    state, kept = State(), {}
    for number in range(at + recovery[-1] + 1):
        seen = reading if number == at else sitting.reading(number)
        state = sitting.system.fold(state, seen)
        if number - at in recovery:
            kept[number - at] = state
    return kept


def _apart(sitting: Sitting, state: State, clean: State) -> float:
    here, there = sitting.maps(state)[0], sitting.maps(clean)[0]
    return distance(here, there) / distance(there, sitting.begun.memory.coarse)


def answer(rows: Sequence[Row]) -> str:
    """What each system has lost at once and at the end, over all kinds of faults."""
    last, said = rows[-1]["after"], []
    for system, some in by(rows, "system").items():
        ends = by(some, "after")
        first, end = (mean(ends[after], "lost_db").mean for after in (0, last))
        left = mean(ends[last], "apart").mean / mean(ends[0], "apart").mean
        said.append(f"{system} {first:.2f} dB, then {end:.2f} dB ({left:.0%})")
    return (
        f"Right after the fault and {last} frames later have been lost, with the part of the "
        f"change of the features that is left: {words(said)}."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Lost PSNR after each kind of fault, and the change of the features after all of them."""
    for axis, some in zip(axes, by(rows, "kind").values(), strict=False):
        curves(axis, some, "after", "lost_db")
    curves(axes[-1], rows, "after", "apart")
    axes[0].legend(fontsize=7)


PART = Part(
    "A frame is noise, another person or black: what is lost at once, and when is it made good?",
    run,
    answer,
    (
        *(f"PSNR lost (dB), frames after {kind}" for kind in KINDS),
        "change of the features, in parts of the refinement",
    ),
    draw,
)
