"""Files of a JSON object a line, each with its `step`, that survive a kill at any moment."""

import io
import json
import pathlib
from typing import Any

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines in order; one torn by a kill is left out; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [row for row in map(_parse, lines) if row is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def reopen(path: pathlib.Path, start_step: int) -> io.FileIO:
    """Opens a file to append, without the lines beyond `start_step` (all, if that is 0).

    Raises:
        UserError: it cannot be written.
    """
    with files.replacing(path) as temporary:
        kept = [row for row in read(path) if start_step and row["step"] <= start_step]
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return path.open("ab", buffering=0)


def append(file: io.FileIO, row: dict[str, Any]) -> None:
    """Adds a line.

    Raises:
        UserError: no space is left on the disk.
    """
    append_bytes(file, (json.dumps(row) + "\n").encode())


def append_bytes(file: io.FileIO, data: bytes) -> None:
    """Writes all of it past any buffer: what a killed run has logged is in the file.

    Raises:
        UserError: no space is left on the disk.
    """
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise not_written(file.name, error) from error


def not_written(path: object, error: OSError) -> UserError:
    """The sentence for a file of a run that cannot be written."""
    return UserError(
        f"{path} was not written: {error.strerror}. Repair this (free some space?) and run the "
        "same command again; the run goes on from its last checkpoint."
    )
