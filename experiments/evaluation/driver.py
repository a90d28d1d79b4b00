"""Runs an experiment: opens its people and systems, scores them, writes what was found."""

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from experiments.evaluation import options, page, people, pictures, report, score, views
from experiments.evaluation.experiment import Experiment, Part
from experiments.evaluation.footage import Footage
from experiments.evaluation.line_up import LineUp, Workshop, line_up
from experiments.evaluation.outside import Recorded
from experiments.evaluation.people import People
from experiments.evaluation.pictures import Album
from experiments.evaluation.protocols import PROTOCOLS, Protocol, shrink, trials
from experiments.evaluation.report import Result
from experiments.evaluation.score import Row, Task
from invertavatar_jax.errors import UserError, tell
from invertavatar_jax.export import files
from invertavatar_jax.metrics import registry
from invertavatar_jax.metrics.metric import Metric

SEED = 0
SIZES = {"small": 256, "tiny": 32}  # pixels of rendered people
TOO_FEW = "two clips or more"


class Plan(NamedTuple):
    """A part, fitted to the clips that there are."""

    part: Part
    protocol: Protocol
    tasks: list[Task]


class Judges(NamedTuple):
    """The metrics that can be made, and why others cannot."""

    metrics: dict[str, Metric]
    not_run: dict[str, str]

    def of(self, part: Part, *, of_sets: bool) -> dict[str, Metric]:
        """Those of a part that judge sets of pictures, or one by one."""
        is_of_sets = lambda name: registry.METRICS[name].compares == registry.SETS
        known = [name for name in part.metrics if name in self.metrics]
        return {name: self.metrics[name] for name in known if is_of_sets(name) == of_sets}


def main(
    experiment: Experiment, argv: Sequence[str] | None = None, workshop: Workshop | None = None
) -> int:
    """Runs the experiment as argv says and returns the exit code.

    Args:
        workshop: models that are open already, of the same preset.
    """
    args = options.parse(experiment.name, experiment.title, argv)
    opened = workshop or Workshop(args.preset)
    return tell(experiment.name, lambda: run(experiment, args, opened))


def run(experiment: Experiment, args: argparse.Namespace, workshop: Workshop) -> int:
    """Writes NAME.json, NAME.md, trials.json and the pictures into the folder --out.

    Raises:
        UserError: input that is missing or does not fit.
    """
    begun = time.monotonic()
    lined = line_up(
        experiment.systems,
        workshop,
        args.weights,
        options.pairs("--baseline", args.baseline),
        options.pairs("--outside", args.outside),
        args.without,
    )
    judges = open_metrics(experiment.parts, options.pairs("--file", args.file))
    clips = open_people(args, workshop.model(args.weights).sizes.renderer.image_resolution)
    plans = [plan(part, clips.clips, args.scored) for part in experiment.parts]
    write_trials(args.out / "trials.json", plans, lined)
    given = {name: str(value) for name, value in vars(args).items()}
    noted = report.begin(given, clips.about, SEED)
    album = Album(every_count=experiment.every_count)
    with tqdm(total=len(lined.systems) * sum(len(one.tasks) for one in plans)) as bar:
        rows = [evaluate(one, lined, judges, album, bar) for one in plans]
    result = report.make(
        experiment.name,
        noted,
        systems=lined.about,
        not_run={
            "systems": lined.not_run,
            "metrics": judges.not_run,
            "parts": {one.part.name: TOO_FEW for one in plans if not one.tasks},
        },
        parts={
            one.part.name: describe(one, found, lined, judges)
            for one, found in zip(plans, rows, strict=True)
        },
        rows=[row for found in rows for row in found],
        seconds=time.monotonic() - begun,
    )
    report.write(args.out / f"{experiment.name}.json", result)
    if experiment.views:
        bench = workshop.bench(workshop.model(args.weights))
        path = args.out / pictures.VIEWS.format(experiment=experiment.name)
        views.write(path, bench, plans[0].tasks)
    show(experiment, args.out, result, album)
    return 0


def open_metrics(parts: Sequence[Part], given: Mapping[str, str]) -> Judges:
    """Makes all metrics that can be made.

    Args:
        given: role -> file; see docs/metrics.md.
    """
    judges = Judges({}, {})
    for name in dict.fromkeys(name for part in parts for name in part.metrics):
        try:
            judges.metrics[name] = registry.make(name, given)
        except UserError as error:
            judges.not_run[name] = str(error)
    return judges


def open_people(args: argparse.Namespace, side: int) -> People:
    """The clips that the arguments name; people are rendered, unless some are given."""
    if args.clip or args.data:
        return people.videos([*args.clip, *([args.data] if args.data else [])], side)
    if args.people_from:
        return people.shards(args.people_from, side)
    folder = args.out / f"people_{args.people}x{args.frames}"
    return people.rendered(folder, args.people, args.frames, SIZES[args.preset], side)


def plan(part: Part, clips: Sequence[Footage], most: int) -> Plan:
    """The protocol for the clips that there are; where others drive, the last fourth does.

    Args:
        most: frames scored per avatar.
    """
    wanted = PROTOCOLS[part.protocol]
    cut = len(clips)
    if wanted.driven_by == "others":
        cut -= max(1, len(clips) // 4)
    sources, drivers = clips[:cut], clips[cut:] or clips
    protocol = shrink(wanted, len(sources), min(len(one.frames) for one in clips))
    chosen = trials(protocol, len(sources), len(drivers), seed=SEED, most=most)
    return Plan(part, protocol, score.tasks(part, chosen, sources, drivers))


def evaluate(plan: Plan, lined: LineUp, judges: Judges, album: Album, bar: tqdm) -> list[Row]:
    """Rows of one part; its first pictures go into the album."""
    rows = []
    used = judges.of(plan.part, of_sets=False)
    for done in score.evaluate(lined.systems, plan.tasks, used):
        rows.append(done.row)
        album.keep(done)
        bar.update()
    return rows


def describe(plan: Plan, rows: Sequence[Row], lined: LineUp, judges: Judges) -> dict[str, Any]:
    """A part's protocol, as in the paper and as run, and its means."""
    used = judges.of(plan.part, of_sets=False)
    summary = score.summary(rows, used, SEED)
    whole = judges.of(plan.part, of_sets=True)
    for name, metric in whole.items():
        for row in summary:
            row[name] = score.compare_sets(lined.systems[row["system"]], plan.tasks, metric)
    trial_frames = len(plan.tasks[0].trial.frames) if plan.tasks else 0
    return {
        "in the paper": dataclasses.asdict(PROTOCOLS[plan.part.protocol]),
        "as run": dataclasses.asdict(plan.protocol)
        | {
            "protocol": plan.part.protocol,
            "people": len({task.person.name for task in plan.tasks}),
            "scored frames per avatar": trial_frames,
        },
        "metrics": [*used, *whole],
        "summary": summary,
    }


def write_trials(path: pathlib.Path, plans: Sequence[Plan], lined: LineUp) -> None:
    """Lists what a method that runs elsewhere has to draw, and sees that it was drawn.

    Raises:
        UserError: a picture of a system that ran elsewhere is missing.
    """
    todo = [task for one in plans for task in one.tasks]
    listed = [
        {
            "part": task.part.name,
            "person": task.person.name,
            "sources": task.trial.sources,
            "driver": task.driver.name,
            "frames": task.trial.frames,
            "pictures": task.pictures,
        }
        for task in todo
    ]
    files.write_json(path, listed)
    for one in lined.systems.values():
        if isinstance(one, Recorded):
            one.check([name for task in todo for name in task.pictures])


def show(experiment: Experiment, folder: pathlib.Path, result: Result, album: Album) -> None:
    """Writes a grid for every part, curves where there are some, and the page that shows them."""
    named = lambda form, part: folder / form.format(experiment=experiment.name, part=part)
    for part in album.parts():
        album.write(named(pictures.GRID, part), part)
    for name, held in result["parts"].items():
        if len({row["sources"] for row in held["summary"]}) > 1:
            title = f"{name}, {result['data']['name']}"
            curves = named(pictures.CURVES, name)
            pictures.plot_curves(curves, held["summary"], held["metrics"], title)
    made = page.text(experiment, result, page.read_paper(), folder)
    files.write_text(folder / f"{experiment.name}.md", made)
    print(made)
