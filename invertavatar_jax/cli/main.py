"""Reads the command line and runs one verb."""

import argparse
import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence

from invertavatar_jax.cli import cache_folder, devices
from invertavatar_jax.cli.console import Console, table
from invertavatar_jax.errors import tell

VERBS = {
    "demo": "one command to see it work: a photo or a clip becomes a moving avatar",
    "fit": "track a face: a photo, a folder of photos or a video -> a track",
    "reconstruct": "photos, clips or tracks of one person -> an avatar file",
    "animate": "an avatar and a driver (clip, track or expressions) -> a video",
    "orbit": "an avatar -> a video that looks at it from around",
    "evaluate-clip": "how well an avatar of the first frames predicts the later ones",
    "prepare": "photos and videos -> a data set in the released layout, by Apache Beam",
    "doctor": "what is wrong with a data set in the released layout, and how to mend it",
    "train": "train the networks",
    "replay": "a stretch of a training run again: is every bit the same?",
    "export-weights": "a checkpoint of a training run -> weights for this program",
    "convert": "a released checkpoint -> weights for this program; nothing in it is run",
    "export": "the program's steps as files that JAX alone runs, on a CPU, a GPU or a TPU",
    "compile": "what the program costs on an accelerator, by its compiler and without it",
    "info": "versions, devices, presets and their parameter counts",
}
FAULTS_FOUND = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb that argv names (sys.argv by default) and returns the exit code."""
    args = _parser().parse_args(argv)
    _quieten()
    devices.choose(args.device)
    # Tracing makes millions of objects that live; looking through them is a tenth of its time.
    gc.set_threshold(100_000, 50, 100)
    if (note := cache_folder.choose()) is not None:
        print(f"avatar {args.verb}: {note}", file=sys.stderr)

    def work() -> int:
        result = _module(args.verb).run(args, Console())
        print(json.dumps(result, indent=2, allow_nan=False) if args.json else table(result))
        return FAULTS_FOUND if result.get("faults") else 0

    return tell(f"avatar {args.verb}", work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avatar", description="One photo or a clip of a person becomes an animatable avatar."
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary + ".")
        verb.add_argument("--seed", type=int, default=0, help="of everything random (0)")
        verb.add_argument(
            "--device",
            choices=devices.CHOICES,
            default="auto",
            help="where to compute (auto: the fastest that JAX finds)",
        )
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        _module(name).add_arguments(verb)
    return parser


def _module(verb: str):
    return importlib.import_module(f"invertavatar_jax.cli.{verb.replace('-', '_')}")


def _quieten() -> None:
    """C++ libraries greet on stderr unless they are told not to before they are loaded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")
