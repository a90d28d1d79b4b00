"""`avatar replay`: repeats a stretch of a run and says whether every bit is the same."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli.console import Console
from invertavatar_jax.cli.train import read_weights
from invertavatar_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and --steps."""
    parser.add_argument("run", metavar="RUN", help="folder of a run; it is only read")
    parser.add_argument(
        "--steps", metavar="A:B", required=True, help="from the newest checkpoint up to A, to B"
    )


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Replays and returns which steps were compared, and the first one that differs."""
    first, last = _read_steps(args.steps)
    device = console.device(args.device)
    from invertavatar_jax.train import replay, runs

    path = runs.settings_of(args.run, same_mesh=False).weights
    weights = read_weights(path) if path and Path(path).exists() else None
    with console.step("replay"):
        found = replay.replay(args.run, first, last, weights=weights)
    return {
        "equal": found.differs_at is None,
        "from_step": found.from_step,
        "compared": found.compared,
        "differs_at": found.differs_at,
        "faults": found.leaves,
        "device": device,
        "seconds": console.seconds,
    }


def _read_steps(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UserError(f"--steps {text}: expected A:B, two steps, the first one smaller.")
    return int(first), int(last)
