"""Tracks real clips and prints what the tracker is worth; writes a sheet of each.

Run: ./avatar python experiments/tracking.py [--out out/tracking] [CLIP ...]

Without clips it fetches the two of experiments/clips.py. Frames per second are measured after
a first, short run, which compiles.
"""

import argparse
import json
from pathlib import Path

import clips

from invertavatar_jax.cli import devices
from invertavatar_jax.export import files, picture
from invertavatar_jax.fit import morphable, overlay, sources, track

WARM_UP_FRAMES = 40  # more than one block of the fit


def warm_up(clip: Path, head: morphable.HeadModel) -> None:
    """Compiles everything by tracking the first frames."""
    frames = sources.open_source(clip).frames()
    track.fit([next(frames) for _ in range(WARM_UP_FRAMES)], head)


def main() -> None:
    """Tracks, prints the figures as JSON, writes report.json and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/tracking"))
    args = parser.parse_args()
    given = args.clips or [clips.fetch(clip, Path("out/clips")) for clip in clips.CLIPS]
    head = morphable.load_head_model()
    warm_up(given[0], head)
    reports = {"device": devices.describe("auto")}
    for clip in given:
        found, reports[clip.name] = track.fit(clip, head)
        sheet = overlay.contact_sheet(head, found)
        picture.write_png(args.out / f"{clip.stem}.png", sheet)
    files.write_json(args.out / "report.json", reports)
    print(json.dumps(reports, indent=2))


if __name__ == "__main__":
    main()
