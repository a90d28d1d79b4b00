"""Reads a dictionary of arrays that numpy.save wrote as one pickled object, as data.

FaceVerse's model files are of this kind. As with checkpoints, nothing that the file names is
imported or called.
"""

import os
from pathlib import Path

import numpy as np

from invertavatar_jax.convert import allowed, machine
from invertavatar_jax.convert.contents import as_tensor
from invertavatar_jax.convert.limits import Budget
from invertavatar_jax.convert.reader import map_file, refusal
from invertavatar_jax.convert.span import Span
from invertavatar_jax.convert.values import Blob, Record, Refused, Storage
from invertavatar_jax.errors import UserError

MARK = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I"}  # of the header, by the format's version
_LONGEST_HEADER = 10_000


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of the dictionary, mostly views of the file; what else it holds is left out.

    Raises:
        UserError: there is no such file, it is damaged, it is no such dictionary, or it names
            something that arrays do not need. The sentence has the byte offset.
    """
    path = Path(path)
    view = map_file(path)
    try:
        value = _read(view)
    except Refused as reason:
        raise refusal(path, reason) from None
    if isinstance(value, Record) and len(value.state.get("items", ())) == 1:
        value = value.state["items"][0]
    found = value.items() if isinstance(value, dict) else ()
    named = {name: _as_array(entry) for name, entry in found if isinstance(name, str)}
    arrays = {name: array for name, array in named.items() if array is not None}
    if not arrays:
        raise UserError(f"{path} holds no dictionary of arrays; expected one from numpy.save.")
    return arrays


def _as_array(value: object) -> np.ndarray | None:
    """An array, or a list of numbers as one; None of anything else."""
    tensor = as_tensor(value)
    if tensor is not None:
        return tensor.array()
    number = (int, float, np.generic)
    if isinstance(value, list | tuple) and all(isinstance(entry, number) for entry in value):
        return np.array(value)
    return None


def _read(view: memoryview) -> object:
    source = Span(view)
    if bytes(source.take(min(6, source.left), "the mark")) != MARK:
        raise Refused(0, "it is no file of numpy.save")
    version = source.number("<B", "the version")
    source.take(1, "the version")
    if version not in _LENGTHS:
        raise Refused(6, f"it has version {version} of numpy's format; 1 and 2 are read")
    length = source.number(_LENGTHS[version], "the header's length")
    if length > _LONGEST_HEADER:
        raise Refused(8, f"its header is {length} bytes; {_LONGEST_HEADER} is the most")
    header = bytes(source.take(int(length), "the header"))
    if b"'|O'" not in header:
        raise Refused(source.offset, "it holds plain numbers; expected a pickled dictionary")
    value = machine.run(source, budget := Budget(), allowed.Context(budget, _no_tensor_file))
    if source.left:
        raise Refused(source.offset, f"{source.left} bytes follow the end of the pickle")
    return value


def _no_tensor_file(blob: Blob) -> Storage:
    raise Refused(blob.offset, "a file of torch.save has no place in a file of numpy.save")
