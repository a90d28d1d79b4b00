"""`avatar orbit`: a video that looks at an avatar from around."""

import argparse
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """AVATAR, --out, --frames, --weights, --head and speed."""
    parser.add_argument("avatar", help="an avatar file")
    parser.add_argument("--out", metavar="V.mp4", required=True, help="where the video goes")
    parser.add_argument("--frames", type=int, default=48, metavar="N", help="views (48)")
    options.add_weights(parser)
    options.add_head(parser)
    options.add_speed(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Writes the video and returns what was done."""
    from invertavatar_jax import motion
    from invertavatar_jax.cli import people

    out = options.output_path(args.out, ".mp4", "--out")
    options.at_least_one(args.frames, "--frames")
    device = console.device(args.device)
    loaded = options.load_model(args, console)
    avatar, front = people.open_avatar(args.avatar, loaded, console)
    moves = motion.around(len(loaded.model.head.expression_names), front, args.frames)
    film = lambda loaded, which: people.film(loaded, avatar, motion.pick(moves, which), console)
    quality = {}
    if args.fast:
        loaded, quality = people.use_preview(loaded, film, args.frames, console)
    with console.step("render and write"):
        shown = film(loaded, range(args.frames))
        written = people.write_films(out, shown, None, moves.frames_per_second)
    return {
        **written,
        **quality,
        "device": device,
        "weights_sha256": loaded.weights_sha256,
        "seconds": console.seconds,
    }
