"""Reads every hostile and damaged checkpoint of the test corpus, each in its own process.

Prints how many were refused, by reason, how many were read, the largest memory and the longest
time of one file, and whether anything ran.
Run: ./avatar python -m experiments.hostile_files [--out figures.json]
"""

import argparse
import collections
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from invertavatar_jax.convert import contents, reader
from invertavatar_jax.errors import UserError
from tests.convert import hostile

MEMORY_MB, SECONDS = 256, 2.0  # of the processor: what one file may take at most
# What Python reports when code runs, a module is loaded or something outside is touched.
_FORBIDDEN = re.compile(
    r"import|exec|compile|os\.(system|exec|spawn|fork|posix_spawn|remove|rename|rmdir|mkdir|kill)"
    r"|subprocess|socket|ctypes|pickle|marshal|shutil|code\.__new__|function\.__new__|pty|urllib"
    r"|webbrowser|builtins\.input|object\.__setattr__"
)


class Ran(BaseException):
    """Something ran while a file was read."""


def _watch(event: str, arguments: tuple) -> None:
    if _FORBIDDEN.match(event):
        raise Ran(f"{event} {arguments!r:.200}")
    if event == "open" and arguments[1] not in ("r", "rb", None):
        raise Ran(f"open {arguments!r:.200}")


def read_all(path: Path) -> int:
    """Reads a file, all its networks and arrays; returns how many bytes the arrays have."""
    checkpoint = reader.read(path)
    total = 0
    for network in contents.networks(checkpoint).values():
        for tensor in network.arrays.values():
            total += len(memoryview(tensor.array()).tobytes())
        json.dumps([network.arguments, network.attributes], allow_nan=False)
    json.dumps(contents.plain(checkpoint.value), allow_nan=False)
    return total


def _child(path: Path, pipe: int) -> None:
    """Reads one file under watch and writes the outcome to a pipe."""
    sys.addaudithook(_watch)
    begin = time.process_time()  # what other programs take is not the file's
    try:
        read_all(path)
        outcome = {"kind": "read", "said": ""}
    except UserError as error:
        outcome = {"kind": "refused", "said": str(error)}
    except BaseException as error:
        outcome = {"kind": "crashed", "said": f"{type(error).__name__}: {error!s:.300}"}
    outcome["seconds"] = time.process_time() - begin
    os.write(pipe, json.dumps(outcome).encode()[:60_000])


def measure(path: Path) -> dict[str, Any]:
    """The outcome of one file: read, refused or crashed; what was said; seconds and MB."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _child(path, send)
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as opened:
        text = opened.read()
    _, status, usage = os.wait4(child, 0)
    lost = {"kind": "crashed", "said": f"the process ended with status {status}", "seconds": 0.0}
    return {**(json.loads(text) if text else lost), "mb": usage.ru_maxrss / 1024}


def reason_of(said: str) -> str:
    """A refusal without the names and numbers of its file."""
    what = said.split(": ", 1)[1] if ": " in said else said
    what = what.split("; nothing in it was run")[0]
    owners = "names|calls|makes an object of|entry|storage|module|with|0x"
    what = re.sub(rf"({owners})(?= |(?<=0x)) ?[\w.:/\\?\[-]+", r"\1 ...", what)
    what = re.sub(r"\(.*\)", "(...)", re.sub(r"(?<![\w-])-?\d+(?![\dx])", "N", what))
    return re.sub(r"'[^']*'", "'...'", what)[:90]


def run(seed: int = 0) -> dict[str, Any]:
    """Measures the whole corpus."""
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.pkl"
        os.chdir(folder)
        for family, data in hostile.corpus(seed):
            path.write_bytes(data)
            outcomes.append({"family": family, **measure(path)})
        left = sorted(found.name for found in Path(folder).iterdir() if found != path)
    kinds = collections.Counter(outcome["kind"] for outcome in outcomes)
    refused = [outcome for outcome in outcomes if outcome["kind"] == "refused"]
    reasons = collections.Counter(reason_of(outcome["said"]) for outcome in refused)
    longest = max(outcomes, key=lambda outcome: outcome["seconds"])
    largest = max(outcomes, key=lambda outcome: outcome["mb"])
    correct = [outcome for outcome in outcomes if outcome["family"].startswith("correct")]
    over = [o for o in outcomes if o["mb"] > MEMORY_MB or o["seconds"] > SECONDS]
    return {
        "files": len(outcomes),
        "families": len({outcome["family"] for outcome in outcomes}),
        **{kind: kinds.get(kind, 0) for kind in ("refused", "read", "crashed")},
        "correct files read": f"{sum(o['kind'] == 'read' for o in correct)} of {len(correct)}",
        "left behind": left,
        "beyond the limits": [[o["family"], round(o["seconds"], 2), round(o["mb"])] for o in over],
        "peak_mb": round(largest["mb"], 1),
        "peak_family": largest["family"],
        "longest_s": round(longest["seconds"], 3),
        "longest_family": longest["family"],
        "crashes": [[o["family"], o["said"]] for o in outcomes if o["kind"] == "crashed"][:20],
        "read families": dict(
            collections.Counter(o["family"] for o in outcomes if o["kind"] == "read")
        ),
        "refusals": dict(reasons.most_common()),
    }


def main() -> int:
    """Prints the figures; 1 where a file crashed, ran something or took too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out.resolve() if args.out else None
    figures = run(args.seed)
    text = json.dumps(figures, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    good = not (figures["crashed"] or figures["left behind"] or figures["beyond the limits"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
