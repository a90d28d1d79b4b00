"""`avatar reconstruct`: photos, a clip or a track of one person -> an avatar file."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCES, --out, --frames, --weights and the choice of a face."""
    parser.add_argument(
        "sources",
        nargs="+",
        help="photos, or one folder, video, track or data set in the released layout, of one "
        "person",
    )
    parser.add_argument("--out", metavar="A.avatar", required=True, help="where the avatar goes")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="most frames taken, spread evenly (16; one-shot: 1)"
    )
    options.add_weights(parser)
    options.add_face(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Reconstructs, writes the avatar and returns how well it shows its own sources."""
    from invertavatar_jax.cli import people, prepared
    from invertavatar_jax.export import avatars

    out = options.output_path(args.out, ".avatar", "--out")
    options.at_least_one(args.frames, "--frames")
    device = console.device(args.device)
    loaded = options.load_model(args, console)
    most = options.most_frames(args.frames, 16, loaded)
    data = prepared.find(args.sources, loaded, console)
    if data is None:
        track = people.get_track(args.sources, args, console)
        which = people.spread(track, most)
        avatar = people.reconstruct(loaded, track, which, console)
        scores, _ = people.score_sources(loaded, avatar, track, which, console)
        used, names = which, [Path(source).name for source in args.sources]
        details = people.describe(loaded, track, names, which)
    else:
        avatar, details, scores = prepared.reconstruct(loaded, data, most, console)
        used = details["frames"]
    with console.step("write avatar"):
        avatars.write_avatar(out, avatar, details)
    return {
        "avatar": str(out),
        "frames": used,
        "device": device,
        "weights_sha256": loaded.weights_sha256,
        **scores,
        "seconds": console.seconds,
    }
