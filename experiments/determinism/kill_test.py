"""Kills training runs at random moments and compares where they end with undisturbed ones.

Run: ./avatar python -m experiments.determinism.kill_test --kills 100 --out R.json \
        --config configs/gan.py:tiny --config configs/latent.py:tiny [--data DIR]

Faults: SIGKILL; SIGTERM, after which the run must exit with 0 and say how to go on; a full
disk, on which no file can grow; torn files, a checkpoint's or the log's, as after a failure of
the power. A run is started again until it is done, then another one begins. Checked at every
start: it goes on from the newest whole checkpoint. Checked at the end of every run: parameters,
averages, buffers, optimizers and the position in the data have the undisturbed run's SHA-256,
and the log has every step once, with the same numbers.
"""

import argparse
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.determinism import child, faults
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.train import checksum, log, loop, manifest

EVERY = 2  # steps from one checkpoint to the next
_TIMES = ("seconds", "per_second", "utilisation")  # in names of numbers that no two runs share


class Undisturbed(NamedTuple):
    """A run that nothing has happened to."""

    config: str  # what --config takes
    total: int
    facts: dict[str, Any]
    pace: faults.Pace
    end: dict[str, Any]
    lines: list[dict[str, Any]]
    noted: dict[int, checksum.Noted]


def main() -> None:
    """Reads the command line, kills, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="over all configurations (100)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file (JSON)")
    parser.add_argument("--config", action="append", required=True, metavar="FILE:VARIANT")
    parser.add_argument("--data", metavar="DIR", help="training data (the configuration's)")
    parser.add_argument("--steps", type=int, default=12, help="of each run (12)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result = test(args.config, args.kills, steps=args.steps, seed=args.seed, data=args.data)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["counted"]))
    sys.exit(0 if result["ok"] else 1)


def test(
    configs: list[str], kills: int, *, steps: int = 12, seed: int = 0, data: str | None = None
) -> dict[str, Any]:
    """The results: runs, kills, and whether all was as it must be."""
    rng, runs, struck = random.Random(seed), [], []
    for number, config in enumerate(configs):
        share = kills * (number + 1) // len(configs) - kills * number // len(configs)
        with tempfile.TemporaryDirectory() as folder:
            known = undisturbed(config, steps, data, pathlib.Path(folder))
            runs.append(known.facts)
            print(f"{config}: {json.dumps(known.facts)}", flush=True)
            left = share
            while left > 0:
                begin = time.monotonic()
                rows = _Run(rng, known, pathlib.Path(folder) / "disturbed").go(left)
                left -= len(rows)
                struck += [{"config": config, **row} for row in rows]
                print(f"{len(struck)} faults, {time.monotonic() - begin:.0f} s", flush=True)
    counted = Counter((row["kind"], "ok" if row["ok"] else "failed") for row in struck)
    return {
        "seed": seed,
        "runs": runs,
        "counted": {f"{kind}: {ok}": n for (kind, ok), n in sorted(counted.items())},
        "ok": all(row["ok"] for row in struck),
        "kills": struck,
    }


def undisturbed(config: str, steps: int, data: str | None, folder: pathlib.Path) -> Undisturbed:
    """Trains once to compile, once more for the time it takes."""
    training = read_config(config)
    short = dict(total_steps=steps, checkpoint_every=EVERY, log_every=1, image_every=0, keep=3)
    training = dataclasses.replace(training, **short, data=data or training.data)
    written, run = child.write_config(training, folder), folder / "undisturbed"
    for _ in range(2):
        shutil.rmtree(run, ignore_errors=True)
        begin, process = time.monotonic(), child.Child(child.train, written, str(run))
        faults.wait_for(faults.Moment(1, 0.0), run, process, 0)
        start_s = time.monotonic() - begin
        ended = process.join()
        seconds = time.monotonic() - begin
        if ended.code:
            raise RuntimeError(f"{config} does not train:\n{ended.output}")
    end = child.Child(child.end_state, str(run)).join().answer
    pace = faults.Pace(start_s, (seconds - start_s) / steps)
    facts = {"config": config, "steps": steps, "start_s": start_s, "seconds": seconds, **end}
    lines, noted = _lines(run), checksum.read(run)
    return Undisturbed(written, steps, facts, pace, end, lines, noted)


class _Run:
    """One run that is struck until it is done."""

    def __init__(self, rng: random.Random, known: Undisturbed, folder: pathlib.Path):
        self.rng, self.known, self.folder = rng, known, folder
        self.rows: list[dict[str, Any]] = []
        self.may_go_on_from = {0}
        shutil.rmtree(folder, ignore_errors=True)

    def go(self, most: int) -> list[dict[str, Any]]:
        """Strikes at most so often; returns a row for every fault that came."""
        done = False
        while not done:
            struck = len(self.rows)
            kind = self.rng.choice(faults.KINDS) if struck < most else None
            ended = self._start(kind)
            done = ended.code == 0 and self._complete()
            if len(self.rows) == struck and not done:
                self._blame(f"ended with {ended.code}: {ended.output[-2000:]}")
                return self.rows
            self._look_around(torn=len(self.rows) > struck and self._tear())
        for sentence in _differences(self.folder, self.known):
            self._blame(sentence)
        return self.rows

    def _complete(self) -> bool:
        return self.known.total in faults.committed(self.folder)

    def _start(self, kind: str | None) -> child.Ended:
        starts, done = self._starts(), max(self.may_go_on_from)
        process = child.Child(child.train, self.known.config, str(self.folder))
        moment = faults.draw_moment(self.rng, self.known.pace, done, self.known.total)
        struck = False
        if kind is not None:
            faults.wait_for(moment, self.folder, process, done)
            struck = process.alive
            faults.strike(kind, process)
        ended = process.join()
        if len(now := self._starts()) > len(starts):
            self._check_start(now[-1]["from_step"])
        if struck:
            begun = len(now) > len(starts)
            fault = _fault_of_end(str(kind), ended, begun=begun, complete=self._complete())
            row = {"kind": kind, "step": faults.last_logged(self.folder), "resumed_at": None}
            row |= {"ended": faults.name_of_code(ended.code), "ok": fault is None}
            self.rows.append(row | ({"fault": fault} if fault else {}))
        return ended

    def _starts(self) -> list[dict[str, Any]]:
        return manifest.read_manifests(self.folder)

    def _check_start(self, step: int) -> None:
        """The start went on from a whole checkpoint: the answer to the faults before it."""
        for row in self.rows:
            if row["resumed_at"] is None:
                row["resumed_at"] = step
        if step not in self.may_go_on_from:
            self._blame(f"went on from {step}, not from {sorted(self.may_go_on_from)}")

    def _tear(self) -> bool:
        """Tears files if that is what struck last; whether a checkpoint is torn."""
        row, whole = self.rows[-1], faults.committed(self.folder)
        if row["kind"] == "torn log":
            row["torn"] = faults.tear_logs(self.rng, self.folder)
        if row["kind"] != "torn checkpoint":
            return False
        if len(whole) < 2:  # a run cannot survive the loss of its only checkpoint
            row["kind"] = "SIGKILL"
            return False
        row["torn"] = faults.tear_checkpoint(self.rng, self.folder)
        return True

    def _look_around(self, *, torn: bool) -> None:
        """From where the next start may go on."""
        whole = [0, *faults.committed(self.folder)]
        damaged = torn or (len(self.may_go_on_from) > 1 and max(self.may_go_on_from) == whole[-1])
        self.may_go_on_from = set(whole[-2:] if damaged else whole[-1:])

    def _blame(self, sentence: str) -> None:
        if not self.rows:
            raise RuntimeError(f"a run that nothing happened to {sentence}")
        self.rows[-1]["ok"] = False
        self.rows[-1]["fault"] = self.rows[-1].get("fault", "") + sentence


def _fault_of_end(kind: str, ended: child.Ended, *, begun: bool, complete: bool) -> str | None:
    """What is wrong with how a struck process ended."""
    told = "run the same command again" in ended.output
    if complete and ended.code == 0:
        return None
    if kind == "SIGTERM":
        # before the run has begun, and after its end, there is nothing to save
        fine = (ended.code == 0 and told) or (ended.code == -15 and (complete or not begun))
    elif kind == "full disk":
        # Orbax's threads may print what befell them, too
        fine = ended.code == 2 and "\navatar train: " in ended.output
    else:
        fine = ended.code == -9
    return None if fine else f"{kind}: ended with {ended.code}: {ended.output[-2000:]}"


def _differences(run: pathlib.Path, known: Undisturbed) -> Iterator[str]:
    """What differs between a run's end and the undisturbed one's."""
    ended = child.Child(child.end_state, str(run)).join()
    if ended.answer != known.end:
        yield f"the end state is another one: {ended.answer or ended.output}."
    lines = _lines(run)
    if [row["step"] for row in lines] != list(range(1, known.total + 1)):
        yield "the log has not every step once."
    elif lines != known.lines:
        yield "the log has other numbers."
    if checksum.read(run) != known.noted:
        yield "the run has noted other checksums."
    folder = run / loop.CHECKPOINTS
    if unfinished := [entry.name for entry in folder.iterdir() if not entry.name.isdecimal()]:
        yield f"unfinished checkpoints are left: {', '.join(unfinished)}."


def _lines(run: pathlib.Path) -> list[dict[str, Any]]:
    """The log's lines of training, without what depends on the clock."""
    timed = lambda name: any(part in name for part in _TIMES)
    lines = [row for row in log.read(run) if "steps" in row]
    return [{name: v for name, v in row.items() if not timed(name)} for row in lines]


if __name__ == "__main__":
    main()
