"""What lies in a data set: names of files and the lists of labels, without any content."""

import json
import os
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from invertavatar_jax.data import released
from invertavatar_jax.data.prepared import locate
from invertavatar_jax.errors import UserError

FOLDERS = (
    released.IMAGES,
    released.RASTERS,
    released.RASTERS_WITHOUT_EYES,
    released.COEFFICIENTS,
    released.UVS,
    released.HEADS,
    released.PERSONS,
    released.CONTOURS,
)
NOT_READ, CAMERAS = released.LABELS  # the label that conditions, and the camera that renders
PHOTO_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Survey(NamedTuple):
    """The names in a data set."""

    root: Path
    files: dict[str, frozenset[str]]  # by folder of the layout; names below it, with /
    labels: dict[str, list[Any] | None]  # by file; None where there is no list
    images: tuple[str, ...]  # clip/frame of every picture, in order

    @property
    def rasters(self) -> str:
        """The folder of rasters: photos may have those without eyes."""
        other = released.RASTERS_WITHOUT_EYES
        return released.RASTERS if released.RASTERS in self.files else other

    def entries(self, file: str) -> list[tuple[str, Any]]:
        """Name and numbers of the entries that have both."""
        return [
            (entry[0], entry[1])
            for entry in self.labels[file] or ()
            if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        ]

    def clips(self) -> dict[str, list[str]]:
        """The stems of each clip's frames, in order."""
        found = defaultdict(list)
        for name in self.images:
            clip, _, frame = name.rpartition("/")
            found[clip].append(frame)
        return dict(found)


def read_survey(path: str | Path) -> Survey:
    """Lists a data set's files and reads its labels.

    Raises:
        UserError: there is no folder of pictures.
    """
    place = locate(path)
    if place is None:
        raise UserError(
            f"{path}: expected a data set in the released layout, found no folder "
            f"{released.IMAGES} in it; give the folder that holds it (docs/data_layout.md)."
        )
    root = place.root
    files = {name: _below(root / name) for name in FOLDERS if (root / name).is_dir()}
    labels = {file: _read_list(root / released.IMAGES / file) for file in released.LABELS}
    images = {stem(name) for name in files[released.IMAGES] if is_photo(name)}
    return Survey(root, files, labels, tuple(sorted(images, key=frame_order)))


def is_photo(name: str) -> bool:
    """Whether a file of the folder of images is a picture in a clip."""
    return "/" in name and PurePosixPath(name).suffix.lower() in PHOTO_ENDINGS


def stem(name: str) -> str:
    """clip/frame of a file's name."""
    return str(PurePosixPath(name).with_suffix(""))


def normal(name: str) -> str:
    """clip/frame of a name, however it is spelt."""
    return stem(name.replace("\\", "/").strip("/")).casefold()


def is_numbered(name: str) -> bool:
    """Whether clip/frame is a clip's; photos of many people may share a folder by other names."""
    return name.rpartition("/")[2].isdecimal()


def frame_order(name: str) -> tuple:
    """Clips by name; frames by number, other frames by name after them."""
    clip, _, frame = name.rpartition("/")
    return (clip, 0, int(frame), frame) if is_numbered(name) else (clip, 1, 0, frame)


def _below(folder: Path) -> frozenset[str]:
    return frozenset(
        (Path(at) / name).relative_to(folder).as_posix()
        for at, _, names in os.walk(folder)
        for name in names
    )


def _read_list(path: Path) -> list[Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    labels = found.get("labels") if isinstance(found, dict) else None
    return labels if isinstance(labels, list) else None
