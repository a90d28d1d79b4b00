"""A result for people: the paper's numbers beside ours, and what did not run."""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.evaluation import score
from experiments.evaluation.experiment import NO_NUMBERS, PARAMETERS, Experiment, Part
from experiments.evaluation.pictures import CURVES, GRID, VIEWS
from experiments.evaluation.report import Result
from invertavatar_jax import prior, settings

NOT_RUN = "not run"
NONE = "–"  # there is none, in the paper or by its nature
PAPER = pathlib.Path(__file__).parents[1] / "paper_numbers.json"
Paper = Mapping[str, Any]


def read_paper(path: pathlib.Path = PAPER) -> Paper:
    """The paper's numbers: by table or figure, by system, in columns named PART/MEASURE."""
    return json.loads(path.read_text(encoding="utf-8"))


def of_paper(paper: Paper, experiment: str, column: str, system: str) -> str:
    """One number of the paper, or why there is none."""
    table = paper.get(experiment, {})
    if column not in table.get("columns", ()):
        return NO_NUMBERS
    if system not in table["rows"]:
        return NONE
    return str(table["rows"][system][table["columns"].index(column)])


def text(experiment: Experiment, result: Result, paper: Paper, folder: pathlib.Path) -> str:
    """The page, as Markdown, with those of the experiment's pictures that are in the folder."""
    made = result["manifest"]
    lines = [
        f"# {experiment.title}",
        "",
        f"Preset {result['preset']}, {result['data']['name']}, seed {result['seed']}, "
        f"{result['seconds']} s on {made['devices']['kind']}, commit {made['code']['commit']}. "
        "Intervals are 95 %, over people. The paper's numbers were measured on other data with "
        "other weights: they are to be read, not to be compared.",
    ]
    for part in experiment.parts:
        lines += ["", f"## {part.name}", "", *_part(experiment, part, result, paper)]
        lines += _shown(folder, experiment.name, part.name, GRID, CURVES)
    lines += _shown(folder, experiment.name, "", VIEWS)
    if result["systems"]:
        lines += ["", "## Systems", ""]
        lines += [f"* {name}: {about}" for name, about in result["systems"].items()]
    if any(result["not_run"].values()):
        lines += ["", "## Not run", ""]
        lines += [
            f"* {why}" if kind == "metrics" else f"* {name} needs {why}"
            for kind, found in result["not_run"].items()
            for name, why in found.items()
        ]
    return "\n".join(lines) + "\n"


def _shown(folder: pathlib.Path, experiment: str, part: str, *forms: str) -> Iterator[str]:
    for form in forms:
        path = folder / form.format(experiment=experiment, part=part)
        if path.exists():
            yield from ("", f"![{path.stem}]({path.name})")


def _part(experiment: Experiment, part: Part, result: Result, paper: Paper) -> Iterator[str]:
    held = result["parts"][part.name]
    wanted, run = held["in the paper"], held["as run"]
    yield (
        f"* In the paper: {wanted['data']}; {wanted['clips']} clips or photos; " + wanted["source"]
    )
    yield (
        f"* As run: {run['people']} clips of {run['length']} frames, sources of the first "
        f"{run['pool']}, {run['scored frames per avatar']} of the frames {run['scored'][0]} to "
        f"{run['scored'][1] - 1} scored for each avatar."
    )
    if PARAMETERS in part.measures:
        yield f"* {PARAMETERS}: of the generators at the paper's size, whatever was run."
    yield ""
    heads, metrics = ["system", "sources"], held["metrics"]
    for measure, names in part.measures.items():
        heads.append(f"{measure}: paper")
        heads += [f"{name}: ours" for name in _run(names, metrics)] or [f"{measure}: ours"]
    heads += [f"{name}: ours" for name in part.besides]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    by_system: dict[str, list[Mapping[str, Any]]] = {}
    for row in held["summary"]:
        by_system.setdefault(row["system"], []).append(row)
    for system in dict.fromkeys((*experiment.systems, *by_system)):
        for row in by_system.get(system, [{"sources": ""}]):
            cells = [system, str(row["sources"])]
            for measure, names in part.measures.items():
                cells.append(of_paper(paper, experiment.name, f"{part.name}/{measure}", system))
                if measure == PARAMETERS:
                    cells.append(parameters(system))
                    continue
                cells += [_cell(row.get(n)) for n in _run(names, metrics)] or [NOT_RUN]
            cells += [_cell(row.get(name)) for name in part.besides]
            yield "| " + " | ".join(cells) + " |"
    counts = sorted({row["sources"] for row in held["summary"]})
    if len(counts) > 1:
        yield from _differences(part.name, list(by_system), counts, result)


def _differences(part: str, systems: list[str], counts: list[int], result: Result) -> Iterator[str]:
    """What more frames change, and what other systems do: in the same frames of the same people."""
    rows = [row for row in result["rows"] if row["part"] == part]
    name, most = result["parts"][part]["metrics"][0], counts[-1]
    less = lambda *pair: _cell(score.difference(rows, name, *pair, result["seed"]))
    yield ""
    yield f"{name} of {most} source frames, less that of fewer:"
    yield ""
    yield "| system | " + " | ".join(f"less {count}" for count in counts[:-1]) + " |"
    yield "|" + "---|" * len(counts)
    for one in systems:
        cells = [less((one, most), (one, count)) for count in counts[:-1]]
        yield f"| {one} | " + " | ".join(cells) + " |"
    yield ""
    yield f"{name} of a row's system less that of a column's, {most} source frames:"
    yield ""
    yield "| system | " + " | ".join(f"less {other}" for other in systems) + " |"
    yield "|" + "---|" * (len(systems) + 1)
    for one in systems:
        cells = [NONE if other == one else less((one, most), (other, most)) for other in systems]
        yield f"| {one} | " + " | ".join(cells) + " |"


@functools.cache
def parameters(system: str) -> str:
    """Millions of parameters of a generator at the paper's size, counted from the settings."""
    sizes = settings.prior("paper" if system == "our_prior" else "next3d")
    return f"{prior.parameter_counts(prior.build(sizes))['generator'] / 1e6:.2f}"


def _run(names: tuple[str, ...], metrics: list[str]) -> list[str]:
    return [name for name in names if name in metrics]


def _cell(found: Mapping[str, Any] | None) -> str:
    """A mean with its interval; what could not be measured says so."""
    if found is None:
        return NOT_RUN
    if found["mean"] is None:
        return f"not measured ({found['missing']} frames)"
    if found["low"] is None:
        return f"{found['mean']:.4g}"
    return f"{found['mean']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
