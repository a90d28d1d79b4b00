"""Writes the README's table of what the paper shows, what we have, and what is missing.

Run: ./avatar python -m experiments.paper_table [--check]        (--check: is it current?)
"""

import argparse
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluation import page
from experiments.evaluation.experiment import PARAMETERS, Experiment
from invertavatar_jax.errors import UserError, tell
from invertavatar_jax.export import files

TABLES = ("table1", "table2", "table3", "table4", "table5")
FIGURES = ("figure4", "figure5", "figure6", "figure7", "figure8", "figure9", "figure12", "figure13")
NAMES = (*TABLES, *FIGURES)
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
ROOT = pathlib.Path(__file__).parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "docs" / "experiments"
HEADER = "| what | paper | ours | status |\n|---|---|---|---|"


def experiments() -> list[Experiment]:
    """All tables and figures, in the paper's order."""
    return [importlib.import_module(f"experiments.{name}").EXPERIMENT for name in NAMES]


def table(results: Mapping[str, Any], paper: page.Paper) -> str:
    """The table, as Markdown.

    Args:
        results: by the experiments' names; those that are missing have not been run.
    """
    rows = [_row(one, results.get(one.name), paper) for one in experiments()]
    return "\n".join([HEADER, *(f"| {' | '.join(row)} |" for row in rows)])


def _row(experiment: Experiment, result: Any, paper: page.Paper) -> Sequence[str]:
    what = experiment.title
    if result is not None:
        what = f"[{what}](docs/experiments/{experiment.name}.md)"
    return what, _paper(experiment, paper), _ours(experiment, result), _status(experiment, result)


def _paper(experiment: Experiment, paper: page.Paper) -> str:
    """The paper's numbers of its own system, or what its curves show."""
    held = paper.get(experiment.name, {"columns": (), "rows": {}, "about": "pictures"})
    own = experiment.systems[0]
    if own not in held["rows"]:
        return held["about"]
    named = zip(held["columns"], held["rows"][own], strict=True)
    return ", ".join(f"{_short(experiment, column)} {value}" for column, value in named)


def _ours(experiment: Experiment, result: Any) -> str:
    """Means of our system with the most source frames."""
    own = experiment.systems[0]
    found = []
    if any(PARAMETERS in part.measures for part in experiment.parts):
        found.append(f"{PARAMETERS} {page.parameters(own)}")
    for part in experiment.parts if result is not None else ():
        held = result["parts"][part.name]
        rows = [row for row in held["summary"] if row["system"] == own]
        for name in held["metrics"] if rows else ():
            first, last = (row[name]["mean"] for row in (rows[0], rows[-1]))
            shown = _number(last)
            if len(rows) > 1:
                counts = [row["sources"] for row in rows]
                shown = f"{_number(first)} to {shown} ({counts[0]} to {counts[-1]} frames)"
            found.append(f"{_short(experiment, f'{part.name}/{name}')} {shown}")
    return ", ".join(found) or page.NOT_RUN


def _number(mean: float | None) -> str:
    return "not measured" if mean is None else f"{mean:.4g}"


def _short(experiment: Experiment, column: str) -> str:
    """A column without its part, where there is one part alone."""
    return column if len(experiment.parts) > 1 else column.partition("/")[2]


def _status(experiment: Experiment, result: Any) -> str:
    if result is None:
        return f"not run: `./avatar python -m experiments.{experiment.name} --out DIR`"
    missing = [name for found in result["not_run"].values() for name in found]
    without = f"; without {', '.join(missing)}" if missing else ""
    own = experiment.systems[0]
    if own in result["not_run"]["systems"]:
        return f"not run: needs {result['not_run']['systems'][own]}"
    people = max(held["as run"]["people"] for held in result["parts"].values())
    return f"run at size {result['preset']}: {result['data']['name']}, {people} clips{without}"


def read_results(folder: pathlib.Path) -> dict[str, Any]:
    """The results that are there, by their experiments' names.

    Raises:
        UserError: one was made with random weights.
    """
    found = {}
    for name in NAMES:
        path = folder / f"{name}.json"
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            if found[name]["preset"] == "tiny":
                raise UserError(f"{path}: a result of random weights says nothing: remove it.")
    return found


def insert(text: str, made: str) -> str:
    """The text with the table between its marks.

    Raises:
        UserError: it lacks them.
    """
    if BEGIN not in text or END not in text:
        raise UserError(f"The text lacks the lines {BEGIN} and {END}.")
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.split(END, 1)[1]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the table into the README, or only says whether it is current."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if it is not current"
    )
    parser.add_argument("--readme", type=pathlib.Path, default=README)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    args = parser.parse_args(argv)
    return tell("paper_table", lambda: _write(args))


def _write(args: argparse.Namespace) -> int:
    old = args.readme.read_text(encoding="utf-8")
    new = insert(old, table(read_results(args.results), page.read_paper()))
    if args.check:
        if old != new:
            print("The table is not current: run python -m experiments.paper_table.")
        return int(old != new)
    files.write_text(args.readme, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
