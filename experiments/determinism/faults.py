"""What can happen to a run: kills, stops, a full disk, torn files; each at a random moment."""

import pathlib
import random
import resource
import signal
import time
from typing import NamedTuple

from experiments.determinism.child import Child
from invertavatar_jax.train import checksum, log, loop, rows

# SIGKILL is what the machine does; torn files are found after one, when the power fails
KINDS = ("SIGKILL", "SIGTERM", "full disk", "torn checkpoint", "torn log")
_POLL_S = 0.004
_AT_START = 0.15  # share of the faults that come before the first step


class Moment(NamedTuple):
    """When a fault comes."""

    step: int  # once the log has this step; 0 counts from the process's start
    delay_s: float


class Pace(NamedTuple):
    """How fast the undisturbed run went."""

    start_s: float  # from the process's start to its first step in the log
    step_s: float


def draw_moment(rng: random.Random, pace: Pace, done: int, total: int) -> Moment:
    """A moment of the run's next few steps, or while it starts.

    Args:
        done: step that it goes on from.
    """
    if rng.random() < _AT_START:
        return Moment(0, rng.uniform(0, pace.start_s))
    step = rng.randint(done + 1, max(done + 1, min(done + 5, total - 1)))
    return Moment(step, rng.uniform(0, 2 * pace.step_s))


def last_logged(run: pathlib.Path) -> int:
    """The newest step in the log; 0 if there is none."""
    return max((row["step"] for row in log.read(run)), default=0)


def wait_for(moment: Moment, run: pathlib.Path, child: Child, done: int) -> None:
    """Returns at the moment, or when the child has ended."""
    size = -1
    while moment.step and child.alive:
        path = run / log.FILE
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size = now
            if done < moment.step <= last_logged(run):
                break
        time.sleep(_POLL_S)
    time.sleep(moment.delay_s)


def strike(kind: str, child: Child) -> None:
    """Does to a living process what the kind says; torn files come when it is dead."""
    number = child.process.pid
    assert number is not None
    try:
        if kind == "full disk":
            # no file can grow any more: works without root, other than a small file system
            resource.prlimit(number, resource.RLIMIT_FSIZE, (0, 0))
        elif kind == "SIGTERM":
            child.process.terminate()
        else:
            child.process.kill()
    except ProcessLookupError:
        pass


def committed(run: pathlib.Path) -> list[int]:
    """Steps of the checkpoints that are whole, oldest first, from the names of folders."""
    folder = run / loop.CHECKPOINTS
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def tear_checkpoint(rng: random.Random, run: pathlib.Path) -> str:
    """Cuts or changes one file of the newest checkpoint; says what was done."""
    folder = run / loop.CHECKPOINTS / str(committed(run)[-1])
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        cut = rng.randrange(len(data))
        path.write_bytes(data[:cut])
        return f"{path.relative_to(folder)}: cut at byte {cut} of {len(data)}"
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"{path.relative_to(folder)}: a bit of byte {place} of {len(data)}"


def tear_logs(rng: random.Random, run: pathlib.Path) -> str:
    """Leaves half a line at the end of the files of lines, or half of their last one.

    A line of a step that a checkpoint has is on the disk; those after it may be torn.
    """
    kept, told = (committed(run) or [0])[-1], []
    for name in (log.FILE, checksum.FILE):
        path = run / name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if lines and rows.read(path)[-1:] and rows.read(path)[-1]["step"] > kept:
            lines[-1] = lines[-1][: rng.randrange(len(lines[-1]))]
            told.append(f"{name}: half its last line")
        else:
            lines.append('{"step": 1')
            told.append(f"{name}: half a line more")
        path.write_text("".join(lines))
    return ", ".join(told)


def name_of_code(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else str(code)
