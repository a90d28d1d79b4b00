"""Methods that ran elsewhere: pictures that they made of an experiment's trials, in a folder.

FOLDER/PART/PERSON/SOURCES_DRIVER/FRAME.png, one picture for every scored frame:
PART a part of the experiment ("hdtf_self"), PERSON and DRIVER the clips' names, SOURCES the
number of source frames, FRAME the driver's frame in five digits. `trials.json`, which every
experiment writes, lists them.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from invertavatar_jax.errors import UserError


class Recorded(NamedTuple):
    """A method of which there are pictures alone."""

    name: str
    folder: pathlib.Path
    about: str = "a method that ran elsewhere"

    def check(self, pictures: Sequence[str]) -> None:
        """Looks whether they are all there.

        Raises:
            UserError: one is missing.
        """
        for name in pictures:
            if not (self.folder / name).is_file():
                raise UserError(
                    f"{self.name}: there is no picture {self.folder / name}; the folder needs all "
                    "that trials.json lists (docs/experiments.md)."
                )

    def read(self, pictures: Sequence[str], side: int) -> Float[np.ndarray, "n h w 3"]:
        """Pictures in [-1, 1], at `side` pixels.

        Raises:
            UserError: one is no square.
        """
        return np.stack([_read(self.folder / name, side) for name in pictures])


def _read(path: pathlib.Path, side: int) -> np.ndarray:
    with Image.open(path) as opened:
        width, height = opened.size
        if width != height:
            raise UserError(f"{path}: {width} x {height} pixels; expected a square picture.")
        small = opened.convert("RGB").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 127.5 - 1
