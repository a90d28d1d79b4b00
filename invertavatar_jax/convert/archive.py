"""ZIP archives as torch.save writes them: stored entries, one after the other, read in place.

What such an archive never has is refused: compression (a small file could unpack to a large
one), entries that overlap or occur twice, encryption, several disks, and names that lead out
of the archive's own folder.
"""

import itertools
import struct
import zlib
from typing import NamedTuple

from invertavatar_jax.convert.limits import MAX_ENTRIES, MAX_NAME
from invertavatar_jax.convert.values import Blob, Refused

MARK = b"PK\x03\x04"
_END, _END64, _LOCATOR, _ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_MAX_COMMENT = 65535
_FULL = 0xFFFFFFFF
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


class Entry(NamedTuple):
    """One file in an archive."""

    name: str
    data: Blob
    crc: int

    def check(self) -> Blob:
        """The bytes, if their checksum is right.

        Raises:
            Refused: it is wrong.
        """
        if zlib.crc32(self.data.view) != self.crc:
            raise Refused(self.data.offset, f"archive entry {self.name} fails its checksum")
        return self.data


def entries(view: memoryview) -> dict[str, Entry]:
    """The files of an archive, by name.

    Raises:
        Refused: it is damaged, or has what torch.save does not write.
    """
    count, start, length, end = _directory(view)
    if count > MAX_ENTRIES:
        raise Refused(end, f"the archive has {count} entries; {MAX_ENTRIES} is the most")
    if start + length != end:
        raise Refused(end, "the archive's list of entries is not where it should be")
    found: dict[str, Entry] = {}
    taken: list[tuple[int, int]] = []
    position = start
    for _ in range(count):
        entry, begin, position = _entry(view, position, start, end)
        if entry.name in found:
            raise Refused(begin, f"archive entry {entry.name} occurs twice")
        found[entry.name] = entry
        taken.append((begin, entry.data.offset + len(entry.data.view)))
    if position != end:
        raise Refused(position, "the archive's list of entries has bytes that belong to none")
    taken.sort()
    for (_, last), (begin, _) in itertools.pairwise(taken):
        if begin < last:
            raise Refused(begin, "two entries of the archive overlap")
    return found


def _directory(view: memoryview) -> tuple[int, int, int, int]:
    """Count of entries, where their list starts, its length, and what follows it."""
    tail = bytes(view[-(_MAX_COMMENT + 22) :])
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise Refused(len(view), "the archive has no end: it is truncated")
    end = len(view) - len(tail) + at
    disk, first, here, count, length, start, comment = struct.unpack_from("<4H2LH", tail, at + 4)
    if disk or first or here != count or end + 22 + comment != len(view):
        raise Refused(end, "the archive is spread over several files or has bytes after its end")
    # torch writes a large directory behind small archives too, and the plain one all the same
    if end < 20 or bytes(view[end - 20 : end - 16]) != _LOCATOR:
        if count == 0xFFFF or length == _FULL or start == _FULL:
            raise Refused(end, "the archive is large but has no large directory")
        return count, start, length, end
    end64 = struct.unpack_from("<LQL", view, end - 16)[1]
    if end64 + 56 > end - 20 or bytes(view[end64 : end64 + 4]) != _END64:
        raise Refused(end, "the archive's large directory is not where it should be")
    disks = struct.unpack_from("<2L2Q2Q", view, end64 + 16)
    if disks[0] or disks[1] or disks[2] != disks[3]:
        raise Refused(end64, "the archive is spread over several files")
    plain, full = (count, length, start), (0xFFFF, _FULL, _FULL)
    if any(a not in (b, c) for a, b, c in zip(plain, full, disks[3:], strict=True)):
        raise Refused(end64, "the archive's two directories differ")
    return disks[3], disks[5], disks[4], end64


def _entry(view: memoryview, position: int, start: int, end: int) -> tuple[Entry, int, int]:
    """One entry of the list: itself, where its header starts, and where the next one is."""
    if position + 46 > end or bytes(view[position : position + 4]) != _ENTRY:
        raise Refused(position, "the archive's list of entries is damaged")
    fields = struct.unpack_from("<6H3L5H2L", view, position + 4)
    flags, method, crc, packed, size = fields[2], fields[3], *fields[6:9]
    name_length, extra_length, comment_length, begin = *fields[9:12], fields[15]
    after = position + 46 + name_length + extra_length + comment_length
    if after > end:
        raise Refused(position, "the archive's list of entries is damaged")
    raw = bytes(view[position + 46 : position + 46 + name_length])
    extra = bytes(view[position + 46 + name_length : position + 46 + name_length + extra_length])
    name = _name(raw, position)
    size, packed, begin = _large(extra, size, packed, begin, position)
    if method or flags & _ENCRYPTED or size != packed:
        raise Refused(position, f"archive entry {name} is compressed or encrypted")
    if begin + 30 > start or bytes(view[begin : begin + 4]) != MARK:
        raise Refused(position, f"archive entry {name} is not where its list says")
    own_name, own_extra = struct.unpack_from("<2H", view, begin + 26)
    data = begin + 30 + own_name + own_extra
    if bytes(view[begin + 30 : begin + 30 + own_name]) != raw or data + size > start:
        raise Refused(begin, f"archive entry {name} does not fit what its list says")
    return Entry(name, Blob(view[data : data + size], data), crc), begin, after


def _name(raw: bytes, offset: int) -> str:
    """An entry's name, if it stays inside the archive's folder."""
    if len(raw) > MAX_NAME or not raw.isascii() or not raw.decode("ascii").isprintable():
        raise Refused(offset, "an archive entry has a name that is too long or not printable")
    name = raw.decode("ascii")
    parts = name.split("/")
    if "\\" in name or ":" in name or ".." in parts or "" in parts[:-1]:
        raise Refused(offset, f"archive entry {name[:80]} leads out of the archive")
    return name


def _large(extra: bytes, size: int, packed: int, begin: int, offset: int) -> tuple[int, int, int]:
    """Sizes and place of an entry, of which those of 4 GiB and more stand in an extra field."""
    wanted = [size == _FULL, packed == _FULL, begin == _FULL]
    if not any(wanted):
        return size, packed, begin
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1 and position + length <= len(extra) and length >= 8 * sum(wanted):
            values = iter(struct.unpack_from(f"<{sum(wanted)}Q", extra, position))
            large = [
                next(values) if want else value
                for want, value in zip(wanted, (size, packed, begin), strict=True)
            ]
            return large[0], large[1], large[2]
        position += length
    raise Refused(offset, "a large archive entry has no large sizes")
