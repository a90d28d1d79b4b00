"""`avatar demo`: a real photo, or a clip, becomes a moving avatar."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console

if TYPE_CHECKING:
    from invertavatar_jax.motion import Motion
    from invertavatar_jax.types import FaceFit

SHEET_COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--out, --clip, --frames, --weights and the choice of a face."""
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument(
        "--clip",
        metavar="V",
        help="a video or a photo of a person (the photo that scikit-image brings)",
    )
    parser.add_argument(
        "--frames", type=int, metavar="N", help="most frames the avatar is made of (8; one-shot: 1)"
    )
    parser.add_argument(
        "--shown", type=int, default=120, metavar="N", help="most frames rendered (120)"
    )
    options.add_weights(parser)
    options.add_face(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Writes demo.mp4, demo_alone.mp4, sheet.png, me.avatar and report.json."""
    from invertavatar_jax.cli import people
    from invertavatar_jax.export import avatars, files, picture

    out = options.output_folder(args.out)
    options.at_least_one(args.frames, "--frames")
    options.at_least_one(args.shown, "--shown")
    device = console.device(args.device)
    loaded = options.load_model(args, console)
    most = options.most_frames(args.frames, 8, loaded)
    sources, name = _source(args)
    track = people.get_track(sources, args, console)
    which = people.spread(track, most)
    avatar = people.reconstruct(loaded, track, which, console)
    scores, again = people.score_sources(loaded, avatar, track, which, console)
    moves, beside = _motion(loaded, track, args.shown)
    with console.step("render"):
        shown = list(people.film(loaded, avatar, moves, console))
    with console.step("write files"):
        out.mkdir(parents=True, exist_ok=True)
        written = people.write_films(out / "demo.mp4", shown, beside, moves.frames_per_second)
        picture.write_png(out / "sheet.png", _sheet(track, which, again, beside, shown))
        avatars.write_avatar(
            out / "me.avatar", avatar, people.describe(loaded, track, [name], which)
        )
    report = {
        **written,
        "source": name,
        "source_frames": which,
        **scores,
        "device": device,
        "seed": args.seed,
        "weights_sha256": loaded.weights_sha256,
        "weights_facts": loaded.facts,
        "seconds": console.seconds,
    }
    files.write_json(out / "report.json", report)
    return report


def _source(args: argparse.Namespace) -> tuple[list, str]:
    """What to reconstruct from, and its name."""
    if args.clip:
        return [args.clip], Path(args.clip).name
    from skimage import data

    return [data.astronaut()], "skimage.data.astronaut"


def _motion(
    loaded: options.Loaded, track: "FaceFit", most: int
) -> tuple["Motion", "np.ndarray | list"]:
    """The clip's own motion; a photo gets the built-in one. And what to show beside it."""
    from invertavatar_jax import motion
    from invertavatar_jax.cli import people

    names = loaded.model.head.expression_names
    if len(track.has_face) == 1:
        moves = motion.built_in(names, people.first_camera(track))
        return motion.first(moves, most), track.image
    moves = motion.first(motion.from_track(track), most)
    return moves, track.image[: len(moves.expression)]


def _sheet(track: "FaceFit", which: list[int], again: list, beside, shown: list) -> np.ndarray:
    """Sources, the avatar as in the sources, the driver where there is one, what it drives."""
    from invertavatar_jax.export import picture

    sources = [track.image[i] for i in which]
    if len(beside) == 1:
        chosen = _evenly(len(shown), SHEET_COLUMNS - 2)
        labels = ["source", "avatar", "driven"]
        return picture.contact_sheet([[sources[0], again[0], *(shown[i] for i in chosen)]], labels)
    chosen = _evenly(len(shown), SHEET_COLUMNS)
    rows = {
        "source": sources[:SHEET_COLUMNS],
        "avatar": again[:SHEET_COLUMNS],
        "driver": [beside[i] for i in chosen],
        "driven": [shown[i] for i in chosen],
    }
    return picture.contact_sheet(list(rows.values()), row_labels=list(rows))


def _evenly(count: int, most: int) -> list[int]:
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
