"""safetensors files: read with checks, and written array by array, so that memory stays small."""

import json
import os
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from invertavatar_jax.convert.limits import MAX_ENTRIES
from invertavatar_jax.convert.values import MAX_AXES, Refused, Storage, Tensor
from invertavatar_jax.export import files

_MAX_HEADER = 4 * 2**20
_CODES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: code for code, dtype in _CODES.items()}


def looks_like(view: memoryview) -> bool:
    """Whether the first bytes are those of a safetensors file."""
    if len(view) < 10:
        return False
    return struct.unpack_from("<Q", view)[0] <= len(view) - 8 and view[8] == ord("{")


def read(view: memoryview) -> dict[str, Any]:
    """Tensors by name, and the file's own description under `__metadata__`.

    Raises:
        Refused: the header is no safetensors header, or its places do not fit the file.
    """
    length = struct.unpack_from("<Q", view)[0]
    if length > _MAX_HEADER:
        raise Refused(0, f"the header has {length} bytes; {_MAX_HEADER} is the most")
    try:
        header = json.loads(bytes(view[8 : 8 + length]))
    except (ValueError, RecursionError):
        raise Refused(8, "the header is not JSON") from None
    if not isinstance(header, dict) or len(header) > MAX_ENTRIES:
        raise Refused(8, "the header is no table of arrays")
    data = view[8 + length :]
    value: dict[str, Any] = {"__metadata__": header.pop("__metadata__", {})}
    places = []
    for name, entry in header.items():
        value[name], place = _tensor(name, entry, data)
        places.append(place)
    position = 0
    for begin, end in sorted(places):
        if begin != position:
            raise Refused(8 + length + begin, "the arrays overlap or leave bytes out")
        position = end
    if position != len(data):
        raise Refused(8 + length, f"the arrays take {position} bytes of {len(data)}")
    return value


def _tensor(name: str, entry: Any, data: memoryview) -> tuple[Tensor, tuple[int, int]]:
    """One array of the header, and its place, if that is inside the file."""
    try:
        dtype, shape = _CODES[entry["dtype"]], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        counts = (*shape, begin, end)
        if len(shape) > MAX_AXES or any(type(n) is not int or not 0 <= n < 2**48 for n in counts):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise Refused(8, f"the header describes no array under {name[:80]!a}") from None
    strides = [1]
    for axis in reversed(shape[1:]):
        strides.append(strides[-1] * max(axis, 1))
    strides = strides[::-1] if shape else []
    storage = Storage(dtype, (end - begin) // dtype.itemsize, data[begin:end])
    tensor = Tensor(storage, 0, shape, tuple(strides))
    if end > len(data) or tensor.nbytes != end - begin:
        raise Refused(8, f"array {name[:80]!a} does not fit its place in the file")
    return tensor, (begin, end)


def write(
    path: str | os.PathLike,
    arrays: Iterable[tuple[str, tuple[int, ...], np.dtype]],
    get: Any,
    metadata: Mapping[str, str],
) -> None:
    """Writes arrays one after the other.

    Args:
        arrays: name, shape and element type of each.
        get: name -> the array; called once each, in order.
        metadata: what stands under `__metadata__`.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    listed = list(arrays)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, shape, dtype in listed:
        end = begin + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        places = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        header[name], begin = places, end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with files.replacing(path) as temporary, temporary.open("wb") as out:
        out.write(struct.pack("<Q", len(text)))
        out.write(text)
        for name, shape, dtype in listed:
            array = np.asarray(get(name), dtype, order="C")
            if array.shape != shape:
                raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
            out.write(array.reshape(-1).view(np.uint8).data)
