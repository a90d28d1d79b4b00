"""`avatar doctor`: what is wrong with a data set in the released layout, and how to mend it."""

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from invertavatar_jax.cli.console import Console

if TYPE_CHECKING:
    from invertavatar_jax.data.doctor.findings import Fault

SHOWN = 5  # faults of each check that are told in words; --json tells all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA."""
    parser.add_argument("data", help="the folder that holds images512x512")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Examines the data set; the result's `faults` are what was found."""
    from invertavatar_jax.data.doctor.examine import examine

    found = examine(args.data, lambda frames: console.each("examine", frames, len(frames)))
    told = {"data": str(found.root), "clips": found.clips, "frames": found.frames}
    if args.json:
        return {**told, "faults": [fault._asdict() for fault in found.faults]}
    _say(found.faults, console)
    return {**told, "faults": len(found.faults)}


def _say(faults: "list[Fault]", console: Console) -> None:
    """The first faults of every check, one line each."""
    for check, count in Counter(fault.check for fault in faults).items():
        console.say(f"{check}: {count}")
        for fault in [fault for fault in faults if fault.check == check][:SHOWN]:
            console.say(f"  {fault.sentence()}")
        if count > SHOWN:
            console.say(f"  and {count - SHOWN} more")
