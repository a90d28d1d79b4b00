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
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.determinism import child
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.export import files
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


Ways = tuple[Way, ...]  # of the parts of a run, one after the other


def parse(text: str) -> Ways:
    """What str makes of ways, joined by hyphens: "1x8-1x2" goes on with 2 of 8 devices."""
    parts = [tuple(map(int, part.split("x"))) for part in text.split("-")]
    return tuple(Way(processes * each, processes) for processes, each in parts)


WHOLE = [(Way(n),) for n in DEVICES] + [(Way(_MOST, 2),)]
MOVED = [(Way(_MOST), Way(2)), (Way(_MOST, 2), Way(1)), (Way(1), Way(_MOST, 2))]


def main() -> None:
    """Reads the command line, trains, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file (JSON)")
    parser.add_argument("--config", action="append", required=True, metavar="FILE:VARIANT")
    parser.add_argument("--data", metavar="DIR", help="training data (the configuration's)")
    parser.add_argument("--steps", type=int, default=50, help="of each run (50)")
    parser.add_argument("--ways", nargs="+", type=parse, help="1x1 2x4 1x8-1x2 (all)")
    parser.add_argument("--ordinary", nargs="*", type=int, help="devices of that mode (all)")
    args = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}

    def keep(now: dict[str, Any]) -> None:
        """Writes what there is after every run: all of them take hours."""
        found[now["config"]] = now
        ok = all(one["equal"] for one in found.values())
        text = json.dumps({"ok": ok, "configs": [*found.values()]}, indent=1)
        files.write_text(args.out, text + "\n")

    ways = args.ways or WHOLE + MOVED
    ordinary = DEVICES if args.ordinary is None else tuple(args.ordinary)
    for config in args.config:
        with tempfile.TemporaryDirectory() as folder:
            test(config, args.steps, pathlib.Path(folder), args.data, ways, ordinary, keep)
    sys.exit(0 if all(one["equal"] for one in found.values()) else 1)


def test(
    config: str,
    steps: int,
    folder: pathlib.Path,
    data: str | None,
    ways: list[Ways],
    ordinary: tuple[int, ...],
    keep: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:
    """The hashes of all ways of one configuration.

    Args:
        ways: of the deterministic mode; the first one is what others are compared with.
        ordinary: numbers of devices of the ordinary mode; the first one as in `ways`.
        keep: is given the result after every run.
    """
    training = read_config(config)
    training = dataclasses.replace(
        training,
        data=data or training.data,
        batch_size=_MOST * training.microbatch,
        log_every=1,
        validate_every=steps,
        image_every=0,
        checkpoint_every=steps,
    )
    found: dict[str, Any] = {"config": config, "steps": steps, "batch_size": training.batch_size}
    found |= {"equal": True, "deterministic": [], "ordinary": []}
    modes = {"deterministic": ways, "ordinary": [(Way(count),) for count in ordinary]}
    for mode, all_ways in modes.items():
        training = dataclasses.replace(training, deterministic=mode == "deterministic")
        runs = []
        for way in all_ways:
            runs.append(folder / "-".join((mode, *map(str, way))))
            row = _train(training, way, steps, runs[-1], folder)
            first = found[mode][0] if found[mode] else row
            if row["sha256"] != first["sha256"]:
                row["differs"] = _ask(child.differences, str(runs[0]), str(runs[-1]))
                if mode == "deterministic":
                    found["equal"] = False
            found[mode].append(row)
            print(f"{config}, {mode}: {json.dumps(row)}", flush=True)
            keep(found)
    return found


def _train(
    training: Training, way: Ways, steps: int, run: pathlib.Path, folder: pathlib.Path
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
