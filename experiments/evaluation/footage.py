"""Clips that avatars are made of and scored on: synthetic people, or a tracked video."""

import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from invertavatar_jax.avatar import Observation
from invertavatar_jax.cli import scoring
from invertavatar_jax.data.synthetic.files import open_shard
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.types import Camera, FaceFit


class Footage(NamedTuple):
    """The frames of a clip that show one person, at a model's size."""

    name: str
    frames: list[Observation]
    truth: Float[np.ndarray, "t h w 3"]  # in [-1, 1]
    head: Bool[np.ndarray, "t h w"]  # where frames are compared


def synthetic(folder: str | pathlib.Path, side: int) -> list[Footage]:
    """Clips of rendered people: coefficients, cameras and masks are exact.

    Args:
        folder: of shards, as tfds_builders.synthetic_heads writes them.
        side: of the compared images, in pixels.

    Raises:
        UserError: there is no shard.
    """
    paths = sorted(pathlib.Path(folder).glob("*.npz"))
    if not paths:
        raise UserError(
            f"{folder}: expected shards (*.npz) of rendered heads, found none: make them with "
            "`./avatar python -m tfds_builders.synthetic_heads --out FOLDER`."
        )
    opened = [open_shard(path) for path in paths]
    return [_person(one, row, side) for one in opened for row in range(len(one["identity"]))]


def tracked(name: str, track: FaceFit, side: int) -> Footage:
    """A tracked clip; the head is the matte's, above the neck."""
    shown = np.flatnonzero(track.has_face).tolist()
    truths = [scoring.truth(track, i, side) for i in shown]
    return Footage(
        name,
        [truth.seen for truth in truths],
        np.stack([truth.image for truth in truths]),
        np.stack([truth.head for truth in truths]),
    )


def _person(shard: dict[str, np.ndarray], row: int, side: int) -> Footage:
    one = {name: np.asarray(shard[name][row]) for name in shard if name != "seed"}
    pose, intrinsics = from_vector(one["camera"])
    frames = [
        Observation(
            one["image"][i],
            one["matte"][i],
            one["identity"],
            one["expression"][i],
            one["gaze_rad"][i],
            Camera(pose[i], intrinsics[i]),
        )
        for i in range(len(one["image"]))
    ]
    truth = np.stack([_resize(image, side) for image in one["image"]])
    head = np.stack([_resize(mask, side) for mask in one["head_matte"]]) >= 128
    return Footage(f"person_{one['number']}", frames, truth.astype(np.float32) / 127.5 - 1, head)


def _resize(picture: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX))
