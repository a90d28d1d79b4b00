"""`avatar fit`: a photo, a folder of photos or a video -> a track and how well it fits."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CLIP, --out, --report, --sheet and the choice of a face."""
    parser.add_argument("clip", nargs="+", help="a video, a folder of photos, or photos")
    parser.add_argument("--out", metavar="T.npz", help="where the track goes")
    parser.add_argument("--report", metavar="R.json", help="where the figures go")
    parser.add_argument("--sheet", metavar="S.png", help="frames with the mesh drawn over them")
    options.add_face(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Tracks, writes what was asked for, and returns the report."""
    from invertavatar_jax.cli import people
    from invertavatar_jax.export import files, picture, tracks

    for name, suffix in (("out", ".npz"), ("report", ".json"), ("sheet", ".png")):
        if getattr(args, name):
            options.output_path(getattr(args, name), suffix, f"--{name}")
    device = console.device(args.device)
    track = people.get_track(args.clip, args, console)
    report = people.track_report(track, console.seconds["track"]) | {"device": device}
    if args.out:
        with console.step("write track"):
            tracks.write_track(args.out, track)
    if args.sheet:
        with console.step("draw sheet"):
            picture.write_png(args.sheet, people.track_sheet(track))
    report["seconds"] = console.seconds
    if args.report:
        files.write_json(Path(args.report), report)
    return report
