"""Tracks on disk: a FaceFit as one npz file, without pickle."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files
from invertavatar_jax.types import Camera, FaceFit

_KIND = "invertavatar_jax track 1"
_ARRAYS = tuple(name for name in FaceFit._fields if name != "camera")


def write_track(path: str | os.PathLike, track: FaceFit) -> None:
    """Writes a track; the fields' names are the arrays' names.

    Raises:
        UserError: no room on the disk, or a name that does not end in .npz.
    """
    if not str(path).lower().endswith(".npz"):
        raise UserError(f"{path}: tracks are written as npz; give a name that ends in .npz.")
    arrays = {name: np.asarray(getattr(track, name)) for name in _ARRAYS}
    arrays |= {f"camera.{name}": np.asarray(a) for name, a in track.camera._asdict().items()}
    arrays["kind"] = np.asarray(_KIND)
    with files.replacing(path) as temporary:
        # Level 1: the crops are most of the file, and higher levels are slow and gain little.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def is_track(path: str | os.PathLike) -> bool:
    """Whether a name is that of a track rather than of a picture, a clip or a folder."""
    return str(path).lower().endswith(".npz")


def read_track(path: str | os.PathLike) -> FaceFit:
    """Reads what `write_track` wrote.

    Raises:
        UserError: there is no such file, it is damaged, or it is not a track.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no track file {path}.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if str(arrays.get("kind")) != _KIND:
            raise KeyError("kind")
        fields = {name: arrays[name] for name in _ARRAYS}
        camera = Camera(*(arrays[f"camera.{name}"] for name in Camera._fields))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        raise UserError(
            f"{path} is not a track, or it is damaged; `./avatar fit CLIP --out T.npz` writes one."
        ) from error
    fields["frames_per_second"] = float(fields["frames_per_second"])
    return FaceFit(camera=camera, **fields)
