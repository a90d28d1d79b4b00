"""Output files that are there whole or not at all."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invertavatar_jax.errors import UserError

_NO_ROOM = {
    errno.ENOSPC: "there is no space left on its disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it is larger than the system allows a file to be",
}


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to, and renames it to `path` at the end.

    After an error the temporary file is gone and what was at `path` is as before. The name
    keeps the suffix of `path`, since some writers choose their format by it.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = _NO_ROOM.get(error.errno or 0)
        if reason is None:
            raise
        raise UserError(f"{path} was not written: {reason}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_beside(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file to write.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        reason = _NO_ROOM.get(error.errno or 0, error.strerror)
        raise UserError(f"{path} cannot be written: {reason}.") from error
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())  # mkstemp's files are private
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as indented JSON; a NaN or an infinity raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text, whole or not at all; errors as of `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
