"""Where the time of a training step goes: by instruction, with the lines of code they come from.

Run: ./avatar python -m experiments.benchmarks.profile_step --config configs/supervised.py \
        --data DIR [--weights FILE] [--out R.json]

Every phase that is due in the first step is compiled and run under JAX's profiler. Times are
those of the device; a loop is listed beside what it runs, so shares may add up to more than one.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from experiments.benchmarks import measure
from invertavatar_jax.cli.train import read_config, read_weights
from invertavatar_jax.train import feeds
from invertavatar_jax.train.program import Program
from invertavatar_jax.train.step import batch_sharding

_CALLERS = 4  # that are told of an instruction, the innermost first


class Spent(NamedTuple):
    """What one instruction took, over all traced steps."""

    seconds: float
    calls: int


def main() -> None:
    """Profiles, prints the slowest instructions of each phase, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]")
    parser.add_argument("--data", metavar="DIR", help="training data (the configuration's)")
    parser.add_argument("--weights", metavar="FILE", help="to begin with (random ones)")
    parser.add_argument("--steps", type=int, default=3, help="that are traced (3)")
    parser.add_argument("--top", type=int, default=25, help="instructions that are printed (25)")
    parser.add_argument("--out", type=pathlib.Path, help="result file (JSON)")
    args = parser.parse_args()
    training = read_config(args.config)
    training = dataclasses.replace(training, data=args.data or training.data)
    weights = read_weights(args.weights) if args.weights else None
    phases = list(profile(Program(training, weights), feeds.open_feed(training), args.steps))
    for one in phases:
        print(f"{one['phase']}: {one['step_ms']:.1f} ms a step, compiled in {one['compile_s']} s")
        for row in one["rows"][: args.top]:
            print(f"{row['ms']:9.2f} ms {row['calls']:7.1f} x  {row['name']:40} {row['place']}")
    if args.out:
        made = {"config": args.config, "environment": measure.environment(), "phases": phases}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(made, indent=1) + "\n")


def profile(program: Program, feed: feeds.Feed, steps: int) -> Iterator[dict[str, Any]]:
    """Each phase of the first step: its time, and rows by instruction, the slowest first."""
    state, key = program.begin(), jax.random.key(0)
    sharding = batch_sharding(program.placing)
    drawn = [feeds.place(next(feed.batches), sharding) for _ in range(program.stage.draws)]
    for number, phase, run in program.due(0):
        rest = drawn[phase.draw], jax.random.fold_in(key, number)
        begun = time.perf_counter()
        compiled = run.differentiate.lower(state, *rest).compile()
        compile_s = time.perf_counter() - begun
        step = run._replace(differentiate=compiled)
        state, _ = jax.block_until_ready(step(state, *rest))  # the optimizer compiles
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(steps):
                    state, _ = step(state, *rest)
                jax.block_until_ready(state)
                took = time.perf_counter() - begun
            found = read(pathlib.Path(folder))
        yield {
            "phase": phase.name,
            "compile_s": round(compile_s, 1),
            "step_ms": 1e3 * took / steps,
            "rows": rows(found, compiled.as_text() or "", steps),
        }


def read(folder: pathlib.Path) -> dict[str, Spent]:
    """Seconds and calls of every instruction in a trace."""
    found: dict[str, Spent] = collections.defaultdict(lambda: Spent(0.0, 0))
    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for event in (event for line in plane.lines for event in line.events):
                name = dict(event.stats).get("hlo_op")
                if name is not None:
                    before = found[str(name)]
                    spent = before.seconds + 1e-9 * event.duration_ns
                    found[str(name)] = Spent(spent, before.calls + 1)
    return dict(found)


def rows(found: dict[str, Spent], program: str, steps: int) -> list[dict[str, Any]]:
    """What each instruction took in a step, and where in the code it comes from."""
    frames = dict(re.findall(r"^\s*(?:ROOT )?%([\w.-]+) = .*stack_frame_id=(\d+)", program, re.M))
    calls = _Calls(program)
    slowest = sorted(found.items(), key=lambda item: -item[1].seconds)
    return [
        {
            "name": name,
            "ms": 1e3 * spent.seconds / steps,
            "calls": spent.calls / steps,
            "place": " < ".join(calls.of(int(frames.get(name, 0)))),
        }
        for name, spent in slowest
    ]


class _Calls:
    """The tables of a compiled program's text that say who called whom."""

    def __init__(self, program: str):
        section = lambda name: re.search(rf"^{name}\n((?:\d+ .*\n)*)", program, re.M)
        table = lambda name: ((found := section(name)) and found[1]) or ""
        number = lambda field, line: int(re.search(rf"{field}=(\d+)", line)[1])  # pyright: ignore
        entries = lambda name: [line.split(" ", 1)[1] for line in table(name).splitlines()]
        files = [pathlib.Path(entry.strip('"')).name for entry in entries("FileNames")]
        self._places = [
            f"{files[number('file_name_id', entry) - 1]}:{number('line', entry)}"
            for entry in entries("FileLocations")
        ]
        # the text counts parents from two on: one is none
        self._frames = [
            (number("file_location_id", entry), number("parent_frame_id", entry) - 1)
            for entry in entries("StackFrames")
        ]

    def of(self, frame: int) -> list[str]:
        """Files and lines of a frame and its callers; 0 is no frame."""
        found = []
        while frame and len(found) < _CALLERS:
            location, frame = self._frames[frame - 1]
            found.append(self._places[location - 1])
        return found


if __name__ == "__main__":
    main()
