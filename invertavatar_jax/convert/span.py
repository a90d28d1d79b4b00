"""Bytes of a file with a position, read with checks: no length is believed before it is seen."""

import struct

from invertavatar_jax.convert.limits import MAX_NAME
from invertavatar_jax.convert.values import Blob, Refused


class Span:
    """A stretch of a file; positions count from its start, offsets from the file's."""

    def __init__(self, view: memoryview, offset: int = 0):
        self.view, self.start, self.position = view, offset, 0

    @property
    def offset(self) -> int:
        """Of the next byte in the file."""
        return self.start + self.position

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return len(self.view) - self.position

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes.

        Raises:
            Refused: there are fewer.
        """
        if not 0 <= count <= self.left:
            raise Refused(
                self.offset, f"{what} needs {count} bytes where {self.left} are left of its part"
            )
        begin = self.position
        self.position = begin + count
        return self.view[begin : begin + count]

    def blob(self, count: int, what: str) -> Blob:
        """The next `count` bytes, with where they are."""
        offset = self.offset
        return Blob(self.take(count, what), offset)

    def number(self, code: str, what: str) -> int | float:
        """The next number, of a format of `struct`."""
        return struct.unpack(code, self.take(struct.calcsize(code), what))[0]

    def line(self, what: str) -> str:
        """ASCII text up to a line feed, which is skipped."""
        near = bytes(self.view[self.position : self.position + MAX_NAME + 1])
        length = near.find(b"\n")
        if length < 0:
            raise Refused(self.offset, f"{what} has a name that does not end")
        text = near[:length]
        if not text.isascii():
            raise Refused(self.offset, f"{what} has a name that is not ASCII")
        self.position += length + 1
        return text.decode("ascii")
