"""What all parts of the study share: systems, people, and how much of everything."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments.evaluation.footage import Footage
from experiments.long_sequences.people import Person
from experiments.long_sequences.systems import Begun, Reading, State, System
from invertavatar_jax.frames import Geometry
from invertavatar_jax.generator import Features
from invertavatar_jax.metrics import bootstrap

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Amounts:
    """How much of everything; the defaults are those of the study."""

    people: int = 3
    moments: int = 32  # of a person that make avatars
    rest: int = 8  # of which some are scored
    held_out: int = 2
    counts: tuple[int, ...] = tuple(2**n for n in range(11))
    ordered: int = 10  # frames of a clip whose order changes
    random_orders: int = 32
    repeats: tuple[int, ...] = tuple(2**n for n in range(7))
    corrupted_at: int = 8
    recovery: tuple[int, ...] = (0, 1, 2, 4, 8, 16)  # frames after the corrupted one
    remembered: tuple[int, ...] = (0, 1, 2, 4, 8, 16)  # frames after the first one
    gated: int = 16  # frames that gates are read at
    drifting: tuple[int, ...] = (1, 10, 100, 1000, 10_000)
    streamed: int = 10_000
    scans: tuple[int, ...] = (16, 64, 256)
    spread: tuple[str, ...] = ("conv_gru", "min_conv_gru", "diagonal")  # over devices


SMOKE = Amounts(
    people=2,
    moments=3,
    rest=2,
    held_out=1,
    counts=(1, 4),  # and all other clips: a window of three or one frame is compiled
    ordered=4,
    random_orders=2,
    repeats=(1, 4),
    corrupted_at=2,
    recovery=(0, 1),
    remembered=(0, 2, 3),
    gated=2,
    drifting=(4,),
    streamed=150,
    scans=(8, 16),
    spread=("min_conv_gru",),
)


class Sitting:
    """One system in front of one person."""

    def __init__(self, system: System, person: Person):
        """Inverts the person's first frame."""
        self.system, self.person = system, person
        self.begun: Begun = system.begin(person.frame(0))
        if system.reads_as not in person.readings:
            person.readings = {system.reads_as: {}}  # those of another system are dropped
        self._readings: dict[int, Reading] = person.readings[system.reads_as]

    def reading(self, number: int) -> Reading:
        """What frame `number` of the person's endless clip says."""
        number %= 2 * self.person.moments
        if number not in self._readings:
            self._readings[number] = self.system.read(self.begun, self.person.frame(number))
        return self._readings[number]

    def fold(self, state: State, number: int) -> State:
        """The state after frame `number`."""
        return self.system.fold(state, self.reading(number))

    def maps(self, state: State) -> tuple[Features, State]:
        """As of System."""
        return self.system.maps(self.begun, state)

    def images(self, state: State, *, colours: bool = True) -> np.ndarray:
        """The held-out frames, as the avatar shows them.

        Args:
            colours: with the observed ones, whose mean over the frames no aggregator changes.
        """
        maps, _ = self.maps(state)
        shown = state if colours else self.system.without_colours(state)
        return self.system.draw(self.begun, maps, shown, self.person.drives())

    def score(self, state: State) -> dict[str, float]:
        """How near the avatar is to the held-out frames."""
        return self.person.score(self.images(state))


class Study(NamedTuple):
    """What a part is run on."""

    systems: dict[str, System]
    clips: Sequence[Footage]
    geometry: Geometry
    amounts: Amounts
    seed: int

    def people(self) -> Iterator[Person]:
        """One after the other: what was computed for one is gone when the next comes."""
        amounts = self.amounts
        for clip in self.clips:
            yield Person(clip, self.geometry, amounts.moments, amounts.held_out, self.seed)

    def sittings(self, part: str) -> Iterator[Sitting]:
        """Every system with every person, and a bar."""
        with tqdm(total=len(self.clips) * len(self.systems), desc=part, unit="fold") as bar:
            for person in self.people():
                for system in self.systems.values():
                    bar.set_postfix_str(system.name)
                    yield Sitting(system, person)
                    bar.update()


class Part(NamedTuple):
    """One question.

    Attributes:
        run: the study -> rows.
        answer: rows -> one sentence.
        draw: axes, rows; a plot for each title in `panels`.
    """

    question: str
    run: Callable[[Study], list[Row]]
    answer: Callable[[Sequence[Row]], str]
    panels: tuple[str, ...]
    draw: Callable[[Sequence[Axes], Sequence[Row]], None]


def mean(rows: Sequence[Row], value: str, seed: int = 0) -> bootstrap.Interval:
    """Of a value over people, with its interval."""
    values = np.array([row[value] for row in rows], np.float64)
    return bootstrap.interval(values, [row["person"] for row in rows], seed=seed)


def by(rows: Sequence[Row], *keys: str) -> dict[Any, list[Row]]:
    """Rows in groups that have equal values of the keys, in the order of their first rows."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        value = tuple(row[key] for key in keys)
        groups.setdefault(value if len(keys) > 1 else value[0], []).append(row)
    return groups


def curves(axis: Axes, rows: Sequence[Row], x: str, y: str) -> None:
    """A curve for each system, the mean over people with its interval."""
    for system, some in by(rows, "system").items():
        points = {at: mean(found, y) for at, found in by(some, x).items()}
        (line,) = axis.plot(list(points), [p.mean for p in points.values()], "o-", label=system)
        low, high = ([getattr(p, end) for p in points.values()] for end in ("low", "high"))
        axis.fill_between(list(points), low, high, color=line.get_color(), alpha=0.12)
    axis.set_xlabel(x)


def figure(part: Part, rows: Sequence[Row]) -> Figure:
    """The part's plots beside each other."""
    made = Figure(figsize=(5.2 * len(part.panels), 3.8), layout="constrained")
    axes = made.subplots(1, len(part.panels), squeeze=False)[0]
    for axis, title in zip(axes, part.panels, strict=True):
        axis.set_title(title)
    part.draw(axes, rows)
    return made


def words(names: Sequence[str]) -> str:
    """Names as they stand in a sentence."""
    if len(names) < 2:
        return "".join(names) or "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
