"""Head models from files: the bundled one, FaceVerse v3.1 and ICT-FaceKit."""

import os
import zipfile
from pathlib import Path

import numpy as np

from invertavatar_jax.convert import npy_file
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import faceverse, ict_facekit
from invertavatar_jax.fit.morphable import HeadModel, load_head_model

FACE_MASK = "v31_face_mask_new.npy"


def open_head_model(path: str | os.PathLike) -> HeadModel:
    """Reads a head model of any kind.

    Args:
        path: `faceverse_v3_1.npy`, with v31_face_mask_new.npy of the released system beside it;
            the folder of an ICT-FaceKit checkout; or an npz file of fit/build_head.py.

    Raises:
        UserError: there is no such file, or it is of another kind or version, or damaged.
    """
    path = Path(path)
    if path.is_dir():
        return ict_facekit.head_model(path)
    if not path.exists():
        raise UserError(f"There is no head model {path}.")
    if path.suffix.lower() == ".npy":
        return read_faceverse(path)
    if path.suffix.lower() == ".npz":
        return _read_own(path)
    raise UserError(
        f"{path} is no head model; expected faceverse_v3_1.npy, the folder of an ICT-FaceKit "
        "checkout, or an npz file of fit/build_head.py."
    )


def read_faceverse(path: str | os.PathLike, *, vertices: int = faceverse.VERTICES) -> HeadModel:
    """Reads FaceVerse's model file as data and the face mask beside it.

    Args:
        vertices: how many the version has.

    Raises:
        UserError: a file is missing, damaged, or of another version.
    """
    path = Path(path)
    arrays = npy_file.read_arrays(path)
    beside = path.with_name(FACE_MASK)
    if not beside.is_file():
        raise UserError(
            f"There is no face mask {beside}: put {FACE_MASK} of the released InvertAvatar code "
            f"beside {path.name}."
        )
    try:
        mask = np.load(beside, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{beside} is damaged, or no array of numpy.save: copy it again."
        ) from error
    return faceverse.head_model(arrays, mask, where=str(path), vertices=vertices)


def _read_own(path: Path) -> HeadModel:
    try:
        return load_head_model(path)
    except UserError:
        raise
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no head model of fit/build_head.py: {error}.") from error
