"""Named arrays with a description in one safetensors file: avatars and weights.

The file's metadata holds `kind` ("avatar" or "weights"), `version` of the layout and
`details`, a JSON object. Nothing in such a file is ever executed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files

VERSION = 1
_PROGRAM = "invertavatar_jax"
_SUFFIX_HINT = {
    "avatar": "`./avatar reconstruct` writes avatars",
    "weights": "training and the converter write weights",
}


def metadata(kind: str, details: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the header of such a file."""
    return {
        "program": _PROGRAM,
        "kind": kind,
        "version": str(VERSION),
        "details": json.dumps(details, allow_nan=False, sort_keys=True),
    }


def write_tensors(
    path: str | os.PathLike, kind: str, arrays: Mapping[str, Any], details: Mapping[str, Any]
) -> None:
    """Writes arrays and a JSON-able description.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    from safetensors.numpy import save

    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = save(ordered, metadata(kind, details))
    with files.replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(
    path: str | os.PathLike, kind: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_tensors` wrote: arrays by name, and the description.

    Raises:
        UserError: there is no such file, it is damaged, or it is not of this kind.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    _check_readable(path, kind)
    try:
        with safe_open(path, framework="numpy") as opened:
            found = opened.metadata() or {}
            _check_kind(path, kind, found)
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}
            return arrays, json.loads(found["details"])
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as {_a(kind)} file: it is damaged, truncated or of another "
            f"format; {_SUFFIX_HINT[kind]}."
        ) from error


def _check_readable(path: Path, kind: str) -> None:
    if not path.exists():
        raise UserError(f"There is no {kind} file {path}.")
    if not path.is_file():
        raise UserError(f"{path} is a folder; expected {_a(kind)} file.")
    if not os.access(path, os.R_OK):
        raise UserError(f"The {kind} file {path} cannot be read: permission denied.")


def _check_kind(path: Path, kind: str, metadata: Mapping[str, str]) -> None:
    if metadata.get("program") != _PROGRAM:
        raise UserError(
            f"{path} is a safetensors file of another program; expected {_a(kind)} file: "
            f"{_SUFFIX_HINT[kind]}."
        )
    if metadata.get("kind") != kind:
        raise UserError(f"{path} holds {metadata.get('kind')}; expected {_a(kind)} file.")
    if int(metadata["version"]) > VERSION:
        raise UserError(
            f"{path} has layout version {metadata['version']}, and this program reads up to "
            f"{VERSION}; update the program."
        )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
