"""What every benchmark shares: interleaved calls, medians, the environment, the result file.

A time means something only beside another one taken in the same run, so a row holds ours and
a named peer's, called in turns. The file holds where and with what it was measured.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

REST_S = 0.25  # between calls: thread pools that wait in a loop must not disturb the other side
TUNED = {  # as ./avatar sets them
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
ENVIRONMENTS = {"default": {}, "tuned": TUNED}  # of the allocator
SETTINGS = (*TUNED, "XLA_FLAGS", "OMP_NUM_THREADS")  # that a result names
PACKAGES = ("jax", "jaxlib", "numpy", "torch", "numba", "deodr", "moderngl")


class Timing(NamedTuple):
    """Of one side: median, fastest and slowest call, and CPU time of all threads a call."""

    median_ms: float
    least_ms: float
    most_ms: float
    cpu_ms: float


def interleave(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Timing]:
    """Calls every side once to warm up, then all in turns, `rounds` times."""
    return _in_turns(
        {name: functools.partial(_timed, call) for name, call in sides.items()}, rounds
    )


def _in_turns(sides: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, Timing]:
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for i in range(rounds + 1):
        for name, call in sides.items():
            time.sleep(REST_S)
            answer = call()
            if i:  # the first call warms up
                answers[name].append(answer)
    return {name: _timing(some) for name, some in answers.items()}


def _timed(call: Callable[[], Any]) -> dict[str, float]:
    cpu_begin, begin = time.process_time(), time.perf_counter()
    jax.block_until_ready(call())
    spent = time.perf_counter() - begin, time.process_time() - cpu_begin
    return {"wall_ms": 1e3 * spent[0], "cpu_ms": 1e3 * spent[1]}


def _timing(answers: list[dict[str, float]]) -> Timing:
    wall, cpu = ([answer[key] for answer in answers] for key in ("wall_ms", "cpu_ms"))
    return Timing(statistics.median(wall), min(wall), max(wall), statistics.median(cpu))


class Worker:
    """A process that makes named calls when asked: thread pools and memory of its own.

    Two runtimes in one process disturb each other: beside PyTorch, the same program of ours
    takes a third longer.
    """

    def __init__(self, module: str, *arguments: str, environment: dict[str, str]):
        """Starts `python -m module arguments`, which must call `serve`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, name: str) -> dict[str, float]:
        """Wall and CPU milliseconds of one call, and the most memory the process has held.

        Raises:
            RuntimeError: the process has ended.
        """
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        print(name, file=pipes[0], flush=True)
        line = pipes[1].readline()
        if not line:
            raise RuntimeError(f"the process that measures {name!r} has ended; see above")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def serve(calls: dict[str, Callable[[], Any]]) -> None:
    """Makes the calls that a Worker asks for, until its end."""
    for line in sys.stdin:
        answer = _timed(calls[line.strip()])
        print(json.dumps(answer | {"rss_mib": peak_rss_mib()}), flush=True)


def alternate(workers: dict[str, Worker], call: str, rounds: int) -> dict[str, Timing]:
    """As interleave, where every side is a process."""
    asks = {name: functools.partial(worker.ask, call) for name, worker in workers.items()}
    return _in_turns(asks, rounds)


def allocator(name: str) -> dict[str, str]:
    """The variables of this process, with the allocator's as in one of ENVIRONMENTS."""
    others = {key: value for key, value in os.environ.items() if key not in TUNED}
    return others | ENVIRONMENTS[name]


def in_child(
    module: str, args: argparse.Namespace, *options: str, environment: dict[str, str]
) -> dict[str, Any]:
    """The result of a benchmark that runs in a process of its own, with that environment."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "result.json")
        command = [sys.executable, "-m", module, f"--out={out}", f"--rounds={args.rounds}"]
        command += [*options, *["--smoke"] * args.smoke]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def row(
    name: str,
    ours: Callable[[], Any],
    peers: dict[str, Callable[[], Any]],
    *,
    rounds: int,
    peak_mib: float | None = None,
    **facts: Any,
) -> list[dict[str, Any]]:
    """One row for each peer, all measured in turns; without peers one row of ours alone.

    Args:
        peers: named functions that return when their work is done.
        peak_mib: temporary memory of ours, as measured by the caller.
        facts: kept in the row as they are (error against the peer, sizes).
    """
    return rows_of(name, interleave({"ours": ours, **peers}, rounds), peak_mib, **facts)


def rows_of(
    name: str, timings: dict[str, Timing], peak_mib: float | None = None, **facts: Any
) -> list[dict[str, Any]]:
    """One row for each peer of "ours" among the timings; see `row`."""
    timings = dict(timings)
    mine = timings.pop("ours")
    common = {"ours_ms": mine.median_ms, "ours": mine._asdict(), "peak_mib": peak_mib, **facts}
    if not timings:
        return [{"name": name, "peer": None, "peer_ms": None, "ratio": None, **common}]
    return [
        {
            "name": name,
            "peer": peer,
            "peer_ms": other.median_ms,
            "ratio": mine.median_ms / other.median_ms,
            "peer_timing": other._asdict(),
            **common,
        }
        for peer, other in timings.items()
    ]


def temporary_mib(compiled: jax.stages.Compiled) -> float:
    """Scratch memory of a compiled function, as XLA plans it."""
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


def peak_rss_mib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment() -> dict[str, Any]:
    """Machine, versions, allocator settings and the commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "device": f"{device.platform} ({device.device_kind})",
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": versions,
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "commit": _commit(),
    }


def _cpu_name() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The commit measured, with a plus where files differ from it."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+" if changed else "")


def main(
    title: str,
    measure: Callable[[argparse.Namespace], Iterable[list[dict]]],
    add_options: Callable[[argparse.ArgumentParser], Any] = lambda parser: None,
) -> None:
    """Runs a benchmark from the command line: prints rows as they come, then writes --out.

    Args:
        measure: yields lists of rows; gets --rounds, --smoke and what add_options adds.
        add_options: adds options of the benchmark's own.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--out", type=pathlib.Path, help="result file (JSON)")
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each side")
    parser.add_argument(
        "--smoke", action="store_true", help="smallest sizes and few calls: does it run?"
    )
    add_options(parser)
    args = parser.parse_args()
    if args.smoke:
        args.rounds = min(args.rounds, 2)
    where = environment()
    rows: list[dict[str, Any]] = []
    for some in measure(args):
        rows += some
        for one in some:
            print(_line(one), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"title": title, "rounds": args.rounds, "environment": where, "rows": rows}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def _line(one: dict[str, Any]) -> str:
    text = f"{one['name']:44s}"
    if one["ours_ms"] is not None:
        text += f" {one['ours_ms']:9.2f} ms"
    if one["peer"] is not None:
        text += f"  {one['ratio']:6.3f} x {one['peer']} ({one['peer_ms']:.2f} ms)"
    if one["peak_mib"] is not None:
        text += f"  {one['peak_mib']:.0f} MiB"
    return text
