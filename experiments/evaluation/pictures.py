"""An experiment's pictures: curves over the number of source frames, and grids of frames."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import UInt8

from experiments.evaluation.score import Done
from invertavatar_jax.export import picture
from invertavatar_jax.export.picture import to_uint8

matplotlib.use("agg")
from matplotlib import pyplot

ROWS = 6  # of a grid
TILE = 192  # pixels
# files of an experiment and of its parts
GRID = "{experiment}_{part}.png"
CURVES = "{experiment}_{part}_curves.png"
VIEWS = "{experiment}_views.png"


def plot_curves(
    path: pathlib.Path, summary: Sequence[Mapping[str, Any]], metrics: Sequence[str], title: str
) -> None:
    """A metric over the number of source frames, a curve per system, with its interval."""
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(5 * len(metrics), 4), squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        for system in dict.fromkeys(row["system"] for row in summary):
            some = [row for row in summary if row["system"] == system]
            counts = [row["sources"] for row in some]
            bounds = [[row[metric][end] for row in some] for end in ("low", "high")]
            (line,) = axis.plot(counts, [row[metric]["mean"] for row in some], "o-", label=system)
            if all(x is not None for side in bounds for x in side):
                axis.fill_between(counts, *bounds, color=line.get_color(), alpha=0.15)
        first = summary[0][metric]
        axis.set(
            xlabel="source frames", ylabel=f"{metric} {first['unit']} ({first['better']} is better)"
        )
        axis.set_xscale("log", base=2)
    axes[0][0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


class Album:
    """Keeps the first scored frame of the first people's avatars, as every system shows it."""

    def __init__(self, *, every_count: bool):
        """Empty.

        Args:
            every_count: a column for every number of source frames, or for the largest alone.
        """
        self._every_count = every_count
        self._rows: dict[tuple[str, str, str], dict[str, UInt8[np.ndarray, "h w 3"]]] = {}

    def keep(self, done: Done) -> None:
        """Takes the frame over, if its row is one of those that are drawn."""
        task = done.task
        key = (task.part.name, task.person.name, task.driver.name)
        of_part = [other for other in self._rows if other[0] == task.part.name]
        if key not in self._rows and len(of_part) >= ROWS:
            return
        trial, count = task.trial, len(task.trial.sources)
        truth = "truth" if task.alone else "driver"
        shown = {} if task.part.of_prior else {"source": task.person.truth[trial.sources[0]]}
        row = self._rows.setdefault(key, {k: to_uint8(v) for k, v in shown.items()})
        row[truth] = to_uint8(task.driver.truth[trial.frames[0]])
        column = done.row["system"]
        if self._every_count:
            column = f"{column}, {count} frame{'s' if count > 1 else ''}"
        row[column] = to_uint8(done.images[0])

    def parts(self) -> list[str]:
        """Those that have rows."""
        return list(dict.fromkeys(part for part, _, _ in self._rows))

    def write(self, path: pathlib.Path, part: str) -> None:
        """Writes a part's rows as one PNG."""
        rows = {key: row for key, row in self._rows.items() if key[0] == part}
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        sheet = picture.contact_sheet(
            [list(row.values()) for row in rows.values()],
            columns,
            [person for _, person, _ in rows],
            TILE,
        )
        picture.write_png(path, sheet)
