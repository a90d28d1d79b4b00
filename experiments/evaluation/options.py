"""The command line that all experiments share."""

import argparse
import pathlib
from collections.abc import Sequence

from invertavatar_jax.errors import UserError

PRESETS = ("small", "tiny")
SMOKE = {"preset": "tiny", "people": 2, "frames": 3, "scored": 2}


def parse(name: str, title: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses argv (sys.argv by default); --smoke is the smallest of everything."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=title)
    folder, pair = {"type": pathlib.Path, "metavar": "DIR"}, {"action": "append", "default": []}
    parser.add_argument("--out", required=True, **folder)
    parser.add_argument("--preset", choices=PRESETS, default="small", help="tiny: random weights")
    parser.add_argument("--smoke", action="store_true", help="preset tiny, two people: seconds")
    parser.add_argument("--weights", metavar="FILE", help="of our system (those of the package)")
    parser.add_argument("--baseline", metavar="NAME=FILE", help="weights of another one", **pair)
    parser.add_argument("--outside", metavar="NAME=FOLDER", help="pictures of another one", **pair)
    parser.add_argument("--without", metavar="NAME", help="a system that is left out", **pair)
    parser.add_argument("--file", metavar="ROLE=FILE", help="what a metric judges by", **pair)
    people = parser.add_argument_group("people", "rendered, unless videos are given")
    people.add_argument("--people", type=int, default=8)
    people.add_argument("--frames", type=int, default=48, help="of each rendered clip")
    people.add_argument("--scored", type=int, default=4, help="most frames scored per avatar")
    people.add_argument("--people-from", help="rendered before, as another --out holds", **folder)
    people.add_argument("--clip", type=pathlib.Path, metavar="VIDEO", **pair)
    people.add_argument("--data", help="videos and folders of frames, a clip each", **folder)
    args = parser.parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    return args


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=FILE as name -> file.

    Raises:
        UserError: one is not of that form.
    """
    for one in given:
        if not all(one.partition("=")):
            raise UserError(f"{option} {one}: expected NAME=PATH.")
    return {name: path for name, _, path in (one.partition("=") for one in given)}
