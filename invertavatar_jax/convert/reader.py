"""Opens a checkpoint of any released kind and yields its content as data.

The file is mapped, not loaded: arrays are views of it, and what Python builds beside them is
bounded by `limits`. Nothing that the file names is imported or called.
"""

import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple

from invertavatar_jax.convert import allowed, archive, machine, named_file, tensor_file
from invertavatar_jax.convert.limits import Budget
from invertavatar_jax.convert.span import Span
from invertavatar_jax.convert.values import Blob, Refused
from invertavatar_jax.errors import UserError


class Checkpoint(NamedTuple):
    """What a file holds."""

    path: Path
    layout: str  # "pickle", "torch", "torch archive" or "safetensors"
    value: Any  # dictionaries, lists, numbers, text, records and tensors
    size: int  # of the file in bytes


def read(path: str | os.PathLike) -> Checkpoint:
    """Reads a pickled snapshot, a file of torch.save (both kinds), or a safetensors file.

    Raises:
        UserError: there is no such file, it is damaged, it names something that a checkpoint
            does not need, or it asks for more than `limits` allows. The sentence has the
            byte offset and the opcode or the name.
    """
    path = Path(path)
    view = map_file(path)
    try:
        layout, value = _read(view)
    except Refused as reason:
        raise refusal(path, reason) from None
    return Checkpoint(path, layout, value, len(view))


def refusal(path: Path, reason: Refused) -> UserError:
    """The sentence that a user reads."""
    return UserError(
        f"{path} is refused at byte {reason.offset}: {reason.what}; nothing in it was run: "
        "take another copy of it, or weights in another format."
    )


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped read-only.

    Raises:
        UserError: there is no such file, it is empty, or it cannot be read.
    """
    if not path.exists():
        raise UserError(f"There is no file {path}.")
    if not path.is_file():
        raise UserError(f"{path} is a folder or a device; expected a checkpoint file.")
    try:
        with path.open("rb") as opened:
            return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError as error:
        raise UserError(f"{path} is empty; expected a checkpoint file.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _read(view: memoryview) -> tuple[str, Any]:
    budget = Budget()
    context = allowed.Context(budget, lambda blob: tensor_file.load_nested(blob, budget, context))
    head = bytes(view[:16])
    if head.startswith(archive.MARK):
        return "torch archive", _read_archive(view, budget, context)
    if head.startswith(tensor_file.MARK):
        return "torch", tensor_file.load(Span(view), budget, context)
    if head[:1] == b"\x80":
        source = Span(view)
        value = machine.run(source, budget, context)
        if source.left:
            raise Refused(source.offset, f"{source.left} bytes follow the end of the pickle")
        return "pickle", value
    if named_file.looks_like(view):
        return "safetensors", named_file.read(view)
    raise Refused(0, "it is no pickle, no file of torch.save and no safetensors file")


def _read_archive(view: memoryview, budget: Budget, context: allowed.Context) -> Any:
    found = archive.entries(view)
    roots = [name for name in found if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise Refused(0, f"the archive has {len(roots)} entries data.pkl, expected one")
    folder = roots[0].removesuffix("data.pkl")
    order = found.get(f"{folder}byteorder")
    if order is not None and bytes(order.data.view[:8]) != b"little":
        raise Refused(order.data.offset, "the archive was not written by a little-endian machine")
    storages = tensor_file.Storages(budget)
    data: Blob = found[roots[0]].check()
    source = Span(data.view, data.offset)
    value = machine.run(source, budget, context, storages.persistent)
    if source.left:
        raise Refused(source.offset, f"{source.left} bytes follow the end of the pickle")
    for key, storage in storages.by_key.items():
        entry = found.get(f"{folder}data/{key}")
        if entry is None:
            raise Refused(data.offset, f"the archive lacks storage {allowed.shown(key)}")
        storage.data = entry.check().view
        if len(storage.data) != storage.count * storage.dtype.itemsize:
            raise Refused(
                entry.data.offset,
                f"storage {allowed.shown(key)} has {len(storage.data)} bytes for "
                f"{storage.count} elements of {storage.dtype}",
            )
    return value
