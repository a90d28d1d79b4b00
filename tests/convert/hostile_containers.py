"""Hostile and damaged ZIP archives and safetensors files, for the corpus of hostile.py."""

import json
import struct
from collections.abc import Iterator

from tests.convert import pickles
from tests.convert.conftest import small_arrays
from tests.convert.pickles import Entry


def archives() -> Iterator[tuple[str, bytes]]:
    """ZIP files with the traps that ZIP files have."""
    good = pickles.archived_state_dict(small_arrays())

    def swap(index: int, **fields) -> bytes:
        listed = list(good)
        listed[index] = Entry(**{**vars(listed[index]), **fields})
        return pickles.archive(listed)

    for name in ("../data/0", "/etc/passwd", "m/../../x", "C:/x", "m\\x", "m//x", "x\x00", "\x1b"):
        yield "archive name", swap(2, name=name)
    yield "archive name", swap(2, name="x" * 5000)
    yield "archive name", swap(2, header_name="model/data/9")
    yield "archive entry twice", pickles.archive([*good, good[2]])
    yield "archive entry twice", pickles.archive([good[0], *good])
    for fields in ({"method": 8}, {"method": 14}, {"flags": 1}, {"crc": 1}, {"size": 2**31}):
        yield "archive entry changed", swap(2, **fields)
    for offset in (0, 1, 64, 2**31, 2**32 - 1):
        yield "archive entry elsewhere", swap(3, offset=offset)
    yield "archive without storage", pickles.archive(good[:3])
    yield "archive without pickle", pickles.archive(good[1:])
    yield "archive of two pickles", pickles.archive([*good, Entry("other/data.pkl", b"\x80\x02N.")])
    yield "archive of another machine", swap(1, data=b"big")
    yield "archive storage of other size", swap(2, data=b"1234")
    data = pickles.archive(good)
    for field, value in ((8, 0xFFFE), (12, 0xFFFFFFF0), (16, 0xFFFFFFF0), (10, 0xFFFF), (16, 0)):
        width = "<H" if field < 12 else "<I"
        changed = bytearray(data)
        struct.pack_into(width, changed, len(data) - 22 + field, value)
        yield "archive directory changed", bytes(changed)
    yield "archive with a comment that is none", data + b"PK\x05\x06" + b"\0" * 18
    yield "archive with bytes before", b"PK\x03\x04junk" + data
    zero = Entry("m/data.pkl", b"\x80\x02N.")
    yield (
        "archive of many entries",
        pickles.archive([zero, *[Entry(f"m/{i}", b"") for i in range(3000)]]),
    )
    large = struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    for locator in (
        b"",
        b"PK\x06\x07" + struct.pack("<LQL", 0, 2**63, 1),
        b"PK\x06\x07" + b"\0" * 16,
    ):
        yield "archive of large format", data[:-22] + locator + b"PK\x05\x06" + large


def tables() -> Iterator[tuple[str, bytes]]:
    """safetensors files with the traps that these have."""

    def table(header: object, data: bytes = b"\0" * 16, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield "correct table", table({"x": entry})
    for changed in (
        {"dtype": "F128"},
        {"dtype": ["F32"]},
        {"shape": [5]},
        {"shape": [-4]},
        {"shape": "4"},
        {"shape": [2**62, 2**62]},
        {"shape": [1] * 50},
        {"data_offsets": [0, 17]},
        {"data_offsets": [16, 0]},
        {"data_offsets": [0, 2**63]},
        {"data_offsets": [0]},
        {"data_offsets": None},
    ):
        yield "table entry", table({"x": entry | changed})
    yield "arrays that overlap", table({"x": entry, "y": entry})
    yield "bytes of no array", table({"x": entry}, b"\0" * 20)
    yield "table that is none", table([entry])
    yield "table that is none", table({"x": 1})
    yield "table that is none", table({"__metadata__": 1, "x": entry})
    yield "table that is none", table(b"{" * 100)
    yield "table nested deeply", table(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield "table of large numbers", table(b'{"x":' + b"9" * 1_000_000 + b"}")
    for length in (2**63, 2**64 - 1, 2**32, 3):
        yield "table length", table({"x": entry}, length=length)
    yield "large table", table(b"{" + b'"x":[],' * 500_000 + b'"y":1}')
