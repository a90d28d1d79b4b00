"""Opens the clips of an experiment: rendered people, or videos of the user."""

import argparse
import pathlib
from typing import NamedTuple

from experiments.evaluation import footage
from experiments.evaluation.footage import Footage
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import morphable, track
from invertavatar_jax.fit.sources import VIDEO_ENDINGS
from invertavatar_jax.metrics.metric import fingerprints

FIRST = 100_000  # identity numbers from here on are for evaluation alone
EVERY = 4  # frames between a rendered person's moments
SEED = 0


class People(NamedTuple):
    """The clips, in the order of their names, and what tells them from others."""

    clips: list[Footage]
    about: dict[str, object]


def rendered(folder: pathlib.Path, count: int, frames: int, size: int, side: int) -> People:
    """People of fixed identities who move smoothly; drawn unless they are there.

    Args:
        size: of the drawn pictures, in pixels.
        side: of the compared ones.
    """
    from tfds_builders.synthetic_heads.__main__ import write_shards

    write_shards(
        argparse.Namespace(
            size=size,
            first=FIRST,
            identities=count,
            shard=count,
            out=folder,
            seed=SEED,
            frames=frames,
            every=EVERY,
        )
    )
    return shards(folder, side)


def shards(folder: pathlib.Path, side: int) -> People:
    """Rendered people that are there.

    Raises:
        UserError: there is no shard.
    """
    clips = footage.synthetic(folder, side)
    return People(clips, {"name": "rendered people", "sha256": fingerprints(*folder.glob("*.npz"))})


def videos(paths: list[pathlib.Path], side: int) -> People:
    """Tracked clips; a folder's are the videos and the folders of frames in it.

    Raises:
        UserError: there is none, or one shows no face.
    """
    found = [clip for path in paths for clip in _clips(path)]
    if not found:
        raise UserError(f"{paths[0]}: expected videos or folders of frames, found none.")
    head = morphable.load_head_model()
    clips = [footage.tracked(path.stem, track.fit(path, head)[0], side) for path in found]
    sums = fingerprints(*(path for path in found if path.is_file()))
    return People(clips, {"name": ", ".join(path.name for path in paths), "sha256": sums})


def _clips(path: pathlib.Path) -> list[pathlib.Path]:
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir())
    return [one for one in inside if one.is_dir() or one.suffix.lower() in VIDEO_ENDINGS]
