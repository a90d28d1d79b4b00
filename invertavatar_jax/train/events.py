"""TensorBoard's event files: bytes to append to one, a framed record each.

Written by hand because the format is small. The libraries for it bring TensorFlow, or load
PyTorch where that is installed and write from a thread that a full disk stops unseen.

Source: TensorFlow, event.proto and summary.proto (field numbers), tf_record (framing).
"""

import struct
import time
from collections.abc import Mapping

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, bits reversed


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """The CRC-32C checksum (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def begin(step: int) -> bytes:
    """The head of a file; of older files TensorBoard hides what is at `step` or beyond."""
    version, start = _bytes(3, b"brain.Event:2"), _bytes(7, _number(1, 1))
    return _record(version) + _record(_number(2, step) + start)


def scalars(step: int, values: Mapping[str, float]) -> bytes:
    """Numbers of one step, by name."""
    summary = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _tag(2, 5) + struct.pack("<f", value))
        for name, value in values.items()
    )
    return _record(_number(2, step) + _bytes(5, summary))


def image(step: int, name: str, png: bytes, height: int, width: int) -> bytes:
    """A picture of one step.

    Args:
        png: RGB.
    """
    picture = _number(1, height) + _number(2, width) + _number(3, 3) + _bytes(4, png)
    value = _bytes(1, name.encode()) + _bytes(4, picture)
    return _record(_number(2, step) + _bytes(5, _bytes(1, value)))


def _record(fields: bytes) -> bytes:
    """An Event of now with these fields, framed with its length and checksums."""
    event = _tag(1, 1) + struct.pack("<d", time.time()) + fields
    length = struct.pack("<Q", len(event))
    return length + _masked(length) + event + _masked(event)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(value)) + value
