"""Which clips a data set will have: every photo and every video is one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.sources import PHOTO_ENDINGS, VIDEO_ENDINGS


class Source(NamedTuple):
    """One clip to be."""

    name: str  # of the clip
    path: str
    is_video: bool


def find_sources(given: Sequence[str | Path]) -> list[Source]:
    """The photos or videos that are given or lie in given folders, at any depth, by name.

    Raises:
        UserError: a path is not there, there is no photo or video, both are mixed, or two
            would make clips of one name.
    """
    found: dict[str, Source] = {}
    for path in map(Path, given):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; check the path.")
        for file in filter(_is_seen, sorted(path.rglob("*")) if path.is_dir() else [path]):
            name = _name(file.relative_to(path) if path.is_dir() else Path(file.name))
            is_video = file.suffix.lower() in VIDEO_ENDINGS
            source = Source(name, str(file.resolve()), is_video)
            if found.setdefault(name, source).path != source.path:
                raise UserError(
                    f"{source.path} and {found[name].path} would both be clip {name!r}; rename one."
                )
    if not found:
        raise UserError(
            "There is no photo or video in what was given, by the endings of names; name some."
        )
    if len({source.is_video for source in found.values()}) > 1:
        raise UserError(
            "Photos and videos are mixed; training draws several frames of every clip of videos: "
            "prepare each kind into a data set of its own."
        )
    return list(found.values())


def _is_seen(path: Path) -> bool:
    known = path.suffix.lower() in PHOTO_ENDINGS | VIDEO_ENDINGS
    return known and path.is_file() and not any(part.startswith(".") for part in path.parts[-2:])


def _name(path: Path) -> str:
    """Letters, digits, - and _ alone, all small: names that every system keeps apart."""
    return re.sub(r"[^a-z0-9-]+", "_", str(path.with_suffix("")).lower()).strip("_") or "clip"
