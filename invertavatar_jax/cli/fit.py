"""`avatar fit`: a photo, a folder of photos or a video -> a track and how well it fits."""

import argparse
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
    from invertavatar_jax.fit import morphable, overlay

    for name, suffix in (("out", ".npz"), ("report", ".json"), ("sheet", ".png")):
        if getattr(args, name):
            options.output_path(getattr(args, name), suffix, f"--{name}")
    device = console.device(args.device)
    track, found = people.make_track(args.clip, args, console)
    if args.out:
        with console.step("write track"):
            tracks.write_track(args.out, track)
    if args.sheet:
        with console.step("draw sheet"):
            sheet = overlay.contact_sheet(morphable.load_head_model(), track)
            picture.write_png(args.sheet, sheet)
    report = {**found, "device": device, "seconds": console.seconds}
    if args.report:
        files.write_json(args.report, report)
    return report
