"""`avatar animate`: an avatar does what a clip, a track or a file of expressions does."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """AVATAR, --drive, --out, --weights and the choice of the driver's face."""
    parser.add_argument("avatar", help="an avatar file")
    parser.add_argument(
        "--drive",
        metavar="CLIP|TRACK|EXPRESSIONS.json|DATA",
        required=True,
        help="a video, a track of `avatar fit`, a JSON file of ARKit weights, or a data set in "
        "the released layout",
    )
    parser.add_argument("--out", metavar="V.mp4", required=True, help="where the video goes")
    options.add_weights(parser)
    options.add_head(parser)
    options.add_face(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Writes the video, beside the driver and alone, and returns what was done."""
    from invertavatar_jax import motion
    from invertavatar_jax.cli import people, prepared

    out = options.output_path(args.out, ".mp4", "--out")
    device = console.device(args.device)
    loaded = options.load_model(args, console)
    avatar, front = people.open_avatar(args.avatar, loaded, console)
    data = prepared.find([args.drive], loaded, console)
    beside, rate = None, prepared.FRAMES_PER_SECOND
    if data is not None:
        film = prepared.film(loaded, avatar, data, console)
        beside = prepared.pictures(data)
    else:
        if Path(args.drive).suffix.lower() == ".json":
            names = loaded.model.head.expression_names
            moves = motion.read_expressions(args.drive, names, front)
        else:
            driver = people.get_track([args.drive], args, console, "track driver")
            moves, beside = motion.from_track(driver), driver.image
        film, rate = people.film(loaded, avatar, moves, console), moves.frames_per_second
    with console.step("render"):
        shown = list(film)
    with console.step("write video"):
        written = people.write_films(out, shown, beside, rate)
    return {
        **written,
        "frames": len(shown),
        "device": device,
        "weights_sha256": loaded.weights_sha256,
        "seconds": console.seconds,
    }
