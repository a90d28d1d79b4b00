"""Writes pickles opcode by opcode, in the formats of the released checkpoints.

Written from the format's description, so that no test needs the classes that the files name.
"""

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np


@dataclass(frozen=True)
class Name:
    """A class or function by its path."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """REDUCE."""

    function: Name
    arguments: tuple = ()


@dataclass(frozen=True)
class New:
    """NEWOBJ, and BUILD with the state."""

    kind: Name
    state: Any = None


@dataclass(frozen=True)
class Outside:
    """BINPERSID."""

    value: Any


@dataclass(frozen=True)
class Blob:
    """Bytes that are written from parts, without joining them."""

    parts: tuple[Any, ...]

    @property
    def length(self) -> int:
        return sum(len(part) for part in self.parts)


ORDERED = Name("collections", "OrderedDict")
STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte", "i4": "Int"}


class Writer:
    """Writes values to a file; text and names are memoized, as Python does."""

    def __init__(self, out: BinaryIO, protocol: int = 4):
        self.out, self.protocol = out, protocol
        self.memo: dict[Any, int] = {}
        self.write(b"\x80" + bytes([protocol]))

    def write(self, data: bytes) -> None:
        self.out.write(data)

    def finish(self, value: Any) -> None:
        self.put(value)
        self.write(b".")

    def put(self, value: Any) -> None:
        PUT[type(value)](self, value)

    def remember(self, value: Any) -> None:
        index = self.memo[value] = len(self.memo)
        if self.protocol >= 4:
            self.write(b"\x94")
        else:
            self.write(b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index))

    def recall(self, value: Any) -> bool:
        index = self.memo.get(value)
        if index is not None:
            self.write(b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index))
        return index is not None


def _text(w: Writer, value: str) -> None:
    if not w.recall(value):
        data = value.encode()
        short = w.protocol >= 4 and len(data) < 256
        w.write(b"\x8c" + bytes([len(data)]) if short else b"X" + struct.pack("<I", len(data)))
        w.write(data)
        w.remember(value)


def _integer(w: Writer, value: int) -> None:
    if 0 <= value < 256:
        w.write(b"K" + bytes([value]))
    elif -(2**31) <= value < 2**31:
        w.write(b"J" + struct.pack("<i", value))
    else:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        w.write(b"\x8a" + bytes([len(data)]) + data)


def _tuple(w: Writer, values: tuple) -> None:
    if len(values) > 3:
        w.write(b"(")
    for value in values:
        w.put(value)
    w.write({0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(values), b"t"))


def _list(w: Writer, values: list) -> None:
    w.write(b"](")
    for value in values:
        w.put(value)
    w.write(b"e")


def _items(w: Writer, items: Iterable[tuple[Any, Any]]) -> None:
    w.write(b"(")
    for key, value in items:
        w.put(key)
        w.put(value)
    w.write(b"u")


def _dict(w: Writer, value: dict) -> None:
    w.write(b"}")
    if value:
        _items(w, value.items())


def _set(w: Writer, values: set) -> None:
    if w.protocol < 4:
        w.put(Call(Name("builtins", "set"), (sorted(values),)))
        return
    w.write(b"\x8f")
    if values:
        w.write(b"(")
        for value in sorted(values):
            w.put(value)
        w.write(b"\x90")


def _name(w: Writer, value: Name) -> None:
    if w.recall(value):
        return
    if w.protocol >= 4:
        w.put(value.module)
        w.put(value.name)
        w.write(b"\x93")
    else:
        w.write(b"c" + f"{value.module}\n{value.name}\n".encode())
    w.remember(value)


def _call(w: Writer, value: Call) -> None:
    w.put(value.function)
    w.put(value.arguments)
    w.write(b"R")


def _new(w: Writer, value: New) -> None:
    w.put(value.kind)
    w.write(b")\x81")
    if value.state is not None:
        w.put(value.state)
        w.write(b"b")


def _outside(w: Writer, value: Outside) -> None:
    w.put(value.value)
    w.write(b"Q")


def _bytes(w: Writer, value: bytes) -> None:
    w.write(b"B" + struct.pack("<I", len(value)) + value)


def _blob(w: Writer, value: Blob) -> None:
    length = value.length
    w.write(b"B" + struct.pack("<I", length) if length < 2**32 else b"\x8e" + _long(length))
    for part in value.parts:
        w.write(part)


def _long(value: int) -> bytes:
    return struct.pack("<Q", value)


PUT: dict[type, Callable[[Writer, Any], None]] = {
    str: _text,
    bool: lambda w, value: w.write(b"\x88" if value else b"\x89"),
    int: _integer,
    float: lambda w, value: w.write(b"G" + struct.pack(">d", value)),
    type(None): lambda w, value: w.write(b"N"),
    bytes: _bytes,
    Blob: _blob,
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    Name: _name,
    Call: _call,
    New: _new,
    Outside: _outside,
}


class _Memory:
    """A file that is bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: Any) -> None:
        self.parts.append(bytes(data))


def dumps(value: Any, protocol: int = 4) -> bytes:
    """A pickle of a value."""
    memory = _Memory()
    Writer(memory, protocol).finish(value)  # pyright: ignore[reportArgumentType]
    return b"".join(memory.parts)


MAGIC = 0x1950A86A20F9469CFC6C
SIZES = {"short": 2, "int": 4, "long": 4}
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": SIZES}


def storage_id(array: np.ndarray, key: str, *, legacy: bool = True) -> Outside:
    """The persistent id of an array's storage."""
    kind = Name("torch", STORAGES[array.dtype.str[1:]] + "Storage")
    return Outside(("storage", kind, key, "cpu", array.size, *([None] if legacy else [])))


def tensor_file(value: Any, arrays: dict[str, np.ndarray]) -> list[Any]:
    """The parts of a file of torch.save before archives: a value, and its storages by key."""
    heads = (MAGIC, 1001, MACHINE, value, list(arrays))
    parts: list[Any] = [dumps(head, 2) for head in heads]
    for array in arrays.values():
        flat = np.ascontiguousarray(array).reshape(-1)
        parts += [struct.pack("<q", flat.size), flat.view(np.uint8).data]
    return parts


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous array, in elements."""
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


def tensor(array: np.ndarray, storage: Any, *, parameter: bool) -> Call:
    """A tensor of a storage; a parameter wraps it."""
    shape = tuple(array.shape)
    arguments = (storage, 0, shape, strides(shape), False, Call(ORDERED))
    inner = Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)
    if not parameter:
        return inner
    return Call(Name("torch._utils", "_rebuild_parameter"), (inner, True, Call(ORDERED)))


def nested(array: np.ndarray, *, parameter: bool, key: str = "94451693058752") -> Call:
    """A tensor as snapshots hold it: its storage is a file of torch.save in itself."""
    parts = tensor_file(storage_id(array, key), {key: array})
    load = Name("torch.storage", "_load_from_bytes")
    return tensor(array, Call(load, (Blob(tuple(parts)),)), parameter=parameter)


def legacy_state_dict(named: dict[str, np.ndarray]) -> bytes:
    """A file of torch.save before archives that holds a state dict."""
    keys = {name: str(i) for i, name in enumerate(named)}
    value = {
        name: tensor(array, storage_id(array, keys[name]), parameter=False)
        for name, array in named.items()
    }
    made = tensor_file(_ordered(value), {keys[name]: array for name, array in named.items()})
    return b"".join(bytes(part) for part in made)


def _ordered(value: dict) -> Any:
    """An OrderedDict with the attribute that torch gives state dicts."""
    build = {"_metadata": Call(ORDERED)}
    return _Built(value, build)


@dataclass(frozen=True)
class _Built:
    items: dict
    attributes: dict


def put_built(w: Writer, value: _Built) -> None:
    w.put(Call(ORDERED))
    _items(w, value.items.items())
    w.put(value.attributes)
    w.write(b"b")


PUT[_Built] = put_built


@dataclass
class Entry:
    """One file of an archive, with what a hostile one may set."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0x0808  # sizes follow the data, as torch writes it
    crc: int | None = None
    size: int | None = None
    offset: int | None = None
    header_name: str | None = None


def archive(entries: Iterable[Entry]) -> bytes:
    """A ZIP archive with aligned, stored entries."""
    body, listing, count = b"", b"", 0
    for entry in entries:
        name = entry.name.encode()
        own = (entry.header_name or entry.name).encode()
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        begin = len(body) if entry.offset is None else entry.offset
        pad = -(len(body) + 30 + len(own) + 4) % 64
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        head = struct.pack("<5H3L2H", 0, entry.flags, entry.method, 0, 0, 0, 0, 0, 0, 0)[:22]
        body += b"PK\x03\x04" + head + struct.pack("<2H", len(own), len(extra)) + own + extra
        body += entry.data + b"PK\x07\x08" + struct.pack("<3L", crc, len(entry.data), size)
        fields = (0, 0, entry.flags, entry.method, 0, 0, crc, len(entry.data), size)
        listing += b"PK\x01\x02" + struct.pack("<6H3L", *fields)
        listing += struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, begin) + name
        count += 1
    end = struct.pack("<4H2LH", 0, 0, count, count, len(listing), len(body), 0)
    return body + listing + b"PK\x05\x06" + end


def archived_state_dict(named: dict[str, np.ndarray], folder: str = "model") -> list[Entry]:
    """The entries of a file of torch.save that holds a state dict."""
    keys = {name: str(i) for i, name in enumerate(named)}
    value = {
        name: tensor(array, storage_id(array, keys[name], legacy=False), parameter=False)
        for name, array in named.items()
    }
    made = [Entry(f"{folder}/data.pkl", dumps(_ordered(value), 2))]
    made.append(Entry(f"{folder}/byteorder", b"little"))
    for name, array in named.items():
        made.append(Entry(f"{folder}/data/{keys[name]}", np.ascontiguousarray(array).tobytes()))
    return [*made, Entry(f"{folder}/version", b"3\n")]
