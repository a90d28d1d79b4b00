"""Trains on 1, 2, 4 and 8 devices and in two processes of 4, and compares where the runs end.

Run: ./avatar python -m experiments.determinism.elastic_test --out R.json --steps 50 \
        --config configs/gan.py:tiny --config configs/latent.py:tiny [--data DIR]

In `deterministic` mode all must end with the same SHA-256 of parameters, averages, buffers,
optimizers and position in the data, those too that went on with other devices after half the
steps. For the ordinary mode the largest difference from one device is told.
"""

import argparse
import dataclasses
import json
import pathlib
import socket
import sys
import tempfile
import time
from typing import Any, NamedTuple

from experiments.determinism import child
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.train.config import MeshShape, Training

DEVICES = (1, 2, 4, 8)
_MOST = max(DEVICES)
_TIMEOUTS = ("timeout", "call_terminate_timeout")


class Way(NamedTuple):
    """How many devices a part of a run is computed on."""

    devices: int
    processes: int = 1

    def __str__(self) -> str:
        return f"{self.processes}x{self.devices // self.processes}"


WHOLE = [(Way(n),) for n in DEVICES] + [(Way(_MOST, 2),)]
MOVED = [(Way(_MOST), Way(2)), (Way(_MOST, 2), Way(1)), (Way(1), Way(_MOST, 2))]


def main() -> None:
    """Reads the command line, trains, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file (JSON)")
    parser.add_argument("--config", action="append", required=True, metavar="FILE:VARIANT")
    parser.add_argument("--data", metavar="DIR", help="training data (the configuration's)")
    parser.add_argument("--steps", type=int, default=50, help="of each run (50)")
    args = parser.parse_args()
    found = []
    for config in args.config:
        with tempfile.TemporaryDirectory() as folder:
            found.append(test(config, args.steps, pathlib.Path(folder), args.data))
    ok = all(one["equal"] for one in found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"ok": ok, "configs": found}, indent=1) + "\n")
    sys.exit(0 if ok else 1)


def test(
    config: str,
    steps: int,
    folder: pathlib.Path,
    data: str | None = None,
    ways: list[tuple[Way, ...]] | None = None,
    ordinary: tuple[int, ...] = DEVICES,
) -> dict[str, Any]:
    """The hashes of all ways of one configuration.

    Args:
        ways: of the deterministic mode; the first one is what others are compared with.
        ordinary: numbers of devices of the ordinary mode; the first one as in `ways`.
    """
    training = read_config(config)
    training = dataclasses.replace(
        training,
        data=data or training.data,
        batch_size=_MOST * training.microbatch,
        deterministic=True,
        log_every=1,
        validate_every=steps,
        image_every=0,
        checkpoint_every=steps,
    )
    rows, runs = [], []
    for way in ways or WHOLE + MOVED:
        runs.append(folder / "-".join(map(str, way)))
        row = _train(training, way, steps, runs[-1], folder)
        if row["sha256"] != (rows or [row])[0]["sha256"]:
            row["differs"] = _ask(child.differences, str(runs[0]), str(runs[-1]))
        rows.append(row)
        print(f"{config}: {json.dumps(row)}", flush=True)
    return {
        "config": config,
        "steps": steps,
        "batch_size": training.batch_size,
        "equal": len({row["sha256"] for row in rows}) == 1,
        "deterministic": rows,
        "ordinary": _ordinary(training, ordinary, steps, folder),
    }


def _ordinary(
    training: Training, counts: tuple[int, ...], steps: int, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """How far the ordinary mode goes apart on several devices."""
    training, rows = dataclasses.replace(training, deterministic=False), []
    run = lambda count: folder / f"ordinary-{count}"
    for count in counts:
        row = _train(training, (Way(count),), steps, run(count), folder)
        if count != counts[0]:
            row["differs"] = _ask(child.differences, str(run(counts[0])), str(run(count)))
        rows.append(row)
        print(f"{training.stage}, ordinary: {json.dumps(row)}", flush=True)
    return rows


def _train(
    training: Training, way: tuple[Way, ...], steps: int, run: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any]:
    """Trains in one or two parts; the end's hash and the time it took."""
    begin = time.monotonic()
    for number, part in enumerate(way):
        last = steps * (number + 1) // len(way)
        here = dataclasses.replace(training, total_steps=last, mesh=MeshShape(part.devices, 1))
        for ended in [
            one.join(3600.0) for one in start(child.write_config(here, folder), part, run)
        ]:
            if ended.code:
                raise RuntimeError(f"{run.name} ended with {ended.code}:\n{ended.output[-4000:]}")
    seconds = time.monotonic() - begin
    end = _ask(child.end_state, str(run))
    if end["step"] != steps:
        raise RuntimeError(f"{run.name} ended at step {end['step']}")
    return {"way": [str(part) for part in way], "seconds": round(seconds, 1), **end}


def start(config: str, part: Way, run: pathlib.Path) -> list[child.Child]:
    """Starts a run's processes."""
    each = _MOST // part.processes  # a device has its share of the threads, used or not
    flags = [f"--xla_force_host_platform_device_count={each}"]
    # devices of a busy machine wait for each other longer than the 30 and 40 s allowed
    flags += [f"--xla_cpu_collective_{name}_seconds=3600" for name in _TIMEOUTS]
    environment = {"XLA_FLAGS": " ".join(flags)}
    environment["NPROC"] = str(_MOST)  # threads of the processor's pool: work is cut by them
    options = [()]
    if part.processes > 1:
        meet = f"--coordinator=localhost:{_free_port()}"
        many = f"--processes={part.processes}"
        options = [(meet, many, f"--process={i}") for i in range(part.processes)]
    return [
        child.Child(child.train, config, str(run), *some, environment=environment)
        for some in options
    ]


def _ask(work: Any, *args: str) -> Any:
    ended = child.Child(work, *args).join()
    if ended.answer is None:
        raise RuntimeError(ended.output)
    return ended.answer


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    main()
