"""Reads the parts of one frame, each by itself, so that one damaged file hides no other."""

import zipfile
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from invertavatar_jax.data import released
from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.doctor.survey import CAMERAS, NOT_READ, Survey, normal

PARTS = (  # what checks of frames read
    "camera",  # of dataset_realcam.json
    "label",  # of dataset.json
    "coefficients",
    "raster_coefficients",
    "raster",
    "uv",
    "image",
    "texture",
    "head_mask",
    "person_mask",
    "contours",
)


class Picture(NamedTuple):
    """A picture as it is stored."""

    format: str  # "PNG"
    mode: str  # Pillow's: "RGB", "L", "I;16", ...
    levels: UInt8[np.ndarray, "h w 3"]  # as RGB


class FrameFiles:
    """Where the parts of frames lie, and what they hold."""

    def __init__(self, survey: Survey):
        """Indexes the labels by frame; the first entry of a frame counts."""
        self._survey = survey
        self._labels = {
            file: {normal(name): numbers for name, numbers in reversed(survey.entries(file))}
            for file in (NOT_READ, CAMERAS)
        }
        self._images = {
            name.rpartition(".")[0]: name for name in sorted(survey.files[released.IMAGES])
        }

    def place(self, frame: str, part: str) -> str:
        """The file of a part, relative to the data set."""
        rasters = f"{self._survey.rasters}/{frame}"
        return {
            "camera": f"{released.IMAGES}/{CAMERAS}",
            "label": f"{released.IMAGES}/{NOT_READ}",
            "coefficients": f"{released.COEFFICIENTS}/{frame}.npy",
            "raster_coefficients": f"{rasters}_coeff.npy",
            "raster": f"{rasters}.npy",
            "uv": f"{released.UVS}/{frame}.npy",
            "image": f"{released.IMAGES}/{self._images[frame]}",
            "texture": f"{released.UVS}/{frame}_uvgttex.png",
            "head_mask": f"{released.HEADS}/{frame}.png",
            "person_mask": f"{released.PERSONS}/{frame}.png",
            "contours": f"{released.CONTOURS}/{frame}.png",
        }[part]

    def read(self, frame: str) -> tuple[dict[str, Any], dict[str, Problem]]:
        """The parts that are there and readable, and what is wrong with the damaged ones."""
        parts, damaged = {}, {}
        for part in PARTS:
            try:
                found = self._read(frame, part)
            except (OSError, SyntaxError, ValueError, EOFError, zipfile.BadZipFile) as error:
                damaged[part] = Problem("content", "a whole file", _reason(error), "copy it again")
                continue
            if found is not None:
                parts[part] = found
        return parts, damaged

    def _read(self, frame: str, part: str) -> Any:
        if part in ("camera", "label"):
            numbers = self._labels[CAMERAS if part == "camera" else NOT_READ].get(normal(frame))
            return None if numbers is None else np.array(numbers, np.float64)
        path = self._survey.root / self.place(frame, part)
        if not path.is_file() or path.is_symlink() or path.stat().st_size == 0:
            return None  # checks of the listing tell
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                raise ValueError("an archive of arrays")
            return found
        with Image.open(path) as opened:
            levels = np.asarray(opened.convert("RGB"))
            return Picture(opened.format or "", opened.mode, levels)


def clip_of(frame: str) -> str:
    """The clip of clip/frame."""
    return frame.rpartition("/")[0]


def _reason(error: Exception) -> str:
    """Why a file is not readable; Pillow's own words name a whole path here."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture"
    return str(error).splitlines()[0][:80] if str(error) else "nothing readable"
