"""`avatar animate`: an avatar does what a clip, a track or a file of expressions does."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console

if TYPE_CHECKING:
    import numpy as np

    from invertavatar_jax.motion import Motion
    from invertavatar_jax.types import Camera


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """AVATAR, --drive, --out, --weights, --head, speed and the choice of the driver's face."""
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
    options.add_speed(parser)
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
    if data is not None:
        count, rate, beside = len(data.numbers), prepared.FRAMES_PER_SECOND, prepared.pictures(data)
        film = lambda loaded, which: prepared.film(loaded, avatar, data, console, which)
    else:
        moves, beside = _motion(args, loaded, front, console)
        count, rate = len(moves.expression), moves.frames_per_second
        film = lambda loaded, which: people.film(loaded, avatar, motion.pick(moves, which), console)
    quality = {}
    if args.fast:
        loaded, quality = people.use_preview(loaded, film, count, console)
    with console.step("render and write"):
        written = people.write_films(out, film(loaded, range(count)), beside, rate)
    return {
        **written,
        **quality,
        "device": device,
        "weights_sha256": loaded.weights_sha256,
        "seconds": console.seconds,
    }


def _motion(
    args: argparse.Namespace, loaded: options.Loaded, front: "Camera", console: Console
) -> "tuple[Motion, np.ndarray | None]":
    """What the driver does, and its pictures where it has any."""
    from invertavatar_jax import motion
    from invertavatar_jax.cli import people

    if Path(args.drive).suffix.lower() == ".json":
        names = loaded.model.head.expression_names
        return motion.read_expressions(args.drive, names, front), None
    driver = people.get_track([args.drive], args, console, "track driver")
    return motion.from_track(driver), driver.image
