"""`avatar evaluate-clip`: how well avatars of some early frames predict later ones of a clip.

Sources lie in the first half of the clip, scored frames in the second half: the model has never
seen them. Two methods without networks get the same sources, meshes and cameras.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError

if TYPE_CHECKING:
    from invertavatar_jax.cli.scoring import Truth
    from invertavatar_jax.types import FaceFit

SHEET_ROWS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CLIP, --sources, --targets, --out, --sheet, --weights and the choice of a face."""
    parser.add_argument("clip", help="a video or a track")
    parser.add_argument(
        "--sources",
        default="1,2,3,5,8,16",
        metavar="N,N,...",
        help="numbers of frames to reconstruct from (1,2,3,5,8,16)",
    )
    parser.add_argument(
        "--targets", type=int, default=24, metavar="N", help="most frames scored (24)"
    )
    parser.add_argument("--out", metavar="R.json", help="where the figures go")
    parser.add_argument("--sheet", metavar="S.png", help="truth and results side by side")
    options.add_weights(parser)
    options.add_face(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Scores every number of sources and returns the figures."""
    from invertavatar_jax.cli import people, scoring
    from invertavatar_jax.export import files, picture

    counts = read_counts(args.sources)
    for name, suffix in (("out", ".json"), ("sheet", ".png")):
        if getattr(args, name):
            options.output_path(getattr(args, name), suffix, f"--{name}")
    device = console.device(args.device)
    loaded = options.load_model(args, console)
    track = people.get_track([args.clip], args, console)
    early, later = halves(track, max(counts), args.targets)
    truths = [scoring.truth(track, i, loaded.model.sizes.renderer.image_resolution) for i in later]
    results, pictures = {}, {}
    for count in counts:
        which = [early[i * len(early) // count] for i in range(count)]
        results[str(count)], pictures[count] = _score(loaded, track, which, truths, console)
    report = {
        "clip": Path(args.clip).name,
        "sources": results,
        "target_frames": [int(track.frame_index[i]) for i in later],
        "device": device,
        "seed": args.seed,
        "weights_sha256": loaded.weights_sha256,
        "weights_facts": loaded.facts,
        "seconds": console.seconds,
    }
    if args.sheet:
        picture.write_png(args.sheet, _sheet(truths, pictures))
    if args.out:
        files.write_json(args.out, report)
    return report


def read_counts(text: str) -> list[int]:
    """Reads "1,2,3".

    Raises:
        UserError: it is not a list of numbers from 1 up.
    """
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UserError(f"--sources {text}: expected numbers from 1 up, e.g. 1,2,3,5,8,16.")
    return counts


def halves(track: "FaceFit", most_sources: int, most_targets: int) -> tuple[list[int], list[int]]:
    """Frames with a face in the clip's first half, and some, evenly spread, of its second.

    Raises:
        UserError: there are fewer than `most_sources` in the first half or none in the second.
    """
    options.at_least_one(most_targets, "--targets")
    seen = np.flatnonzero(track.has_face)
    middle = len(track.has_face) // 2
    early, later = seen[seen < middle], seen[seen >= middle]
    if len(early) < most_sources or not len(later):
        raise UserError(
            f"The clip shows a face in {len(early)} frames of its first half and {len(later)} of "
            f"its second; expected {most_sources} and 1: give a longer clip or fewer --sources."
        )
    count = min(most_targets, len(later))
    return early.tolist(), [int(i) for i in later[np.arange(count) * len(later) // count]]


def _score(
    loaded: options.Loaded,
    track: "FaceFit",
    which: Sequence[int],
    truths: "Sequence[Truth]",
    console: Console,
) -> tuple[dict[str, Any], list[list[np.ndarray]]]:
    """The mean figures of the avatar and of the baselines, and pictures of some frames."""
    from invertavatar_jax.cli import people, scoring

    avatar = people.reconstruct(loaded, track, which, console)
    drawers = scoring.drawers(loaded, avatar, track, which)
    figures, rows = {name: [] for name in drawers}, []
    with console.step("score"):
        for truth in console.each("score", truths, len(truths)):
            images = {name: draw(truth) for name, draw in drawers.items()}
            for name, image in images.items():
                figures[name].append(scoring.figures(image, truth))
            rows.append([truth.image, *images.values()])
    means = {name: scoring.mean(per_frame) for name, per_frame in figures.items()}
    source_frames = [int(track.frame_index[i]) for i in which]
    return {**means.pop("avatar"), **means, "source_frames": source_frames}, rows


def _sheet(truths: "Sequence[Truth]", pictures: dict[int, list]) -> np.ndarray:
    """Truth, the avatar for every number of sources, and the mesh of the largest number."""
    from invertavatar_jax.export import picture

    chosen = np.linspace(0, len(truths) - 1, min(SHEET_ROWS, len(truths))).round().astype(int)
    largest = max(pictures)
    rows = [
        [
            truths[i].image,
            *(pictures[count][i][1] for count in pictures),
            pictures[largest][i][-1],
        ]
        for i in chosen
    ]
    labels = ["truth", *(f"{n} frame{'s' * (n > 1)}" for n in pictures), f"mesh, {largest}"]
    return picture.contact_sheet([[picture.to_uint8(p) for p in row] for row in rows], labels)
