"""What reading a foreign file yields: plain values, and data that stands for its objects.

Nothing here is an instance of a class that a file names: a class or a function is a `Global`,
which is two strings; an object is a `Record`, which is its class's path and its state.
"""

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np


class Refused(Exception):
    """Why a file is not read on: what stands at which byte. Becomes a UserError sentence."""

    def __init__(self, offset: int, what: str):
        super().__init__(what)
        self.offset, self.what = offset, what


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or a function; it is never looked up."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """`module.name`."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Record:
    """An object as data: the path of its class and the state that was stored for it."""

    path: str
    state: dict[Any, Any] = field(default_factory=dict)
    arguments: tuple = ()  # what its constructor or function was stored with
    offset: int = 0  # of the opcode that made it


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes of the file; nothing is copied."""

    view: memoryview
    offset: int  # of the first byte in the file


DTYPES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "UntypedStorage": np.dtype(np.uint8),
}


@dataclass(slots=True)
class Storage:
    """A flat buffer that tensors view. `data` follows later where a file stores it last."""

    dtype: np.dtype
    count: int  # of elements
    data: memoryview | None = None


MAX_AXES = 8


@dataclass(slots=True)
class Tensor:
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    parameter: bool = False

    @property
    def dtype(self) -> np.dtype:
        """The storage's."""
        return self.storage.dtype

    @property
    def size(self) -> int:
        """Count of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take when they are written out."""
        return self.size * self.dtype.itemsize

    def fits(self) -> bool:
        """Whether the view stays inside its storage and names no element twice."""
        if not 0 <= self.offset <= self.storage.count or self.size > self.storage.count:
            return False
        if self.size == 0:
            return True
        reach = 1  # elements spanned by the axes seen so far, in order of stride
        for stride, length in sorted(zip(self.strides, self.shape, strict=True)):
            if length > 1:
                if stride < reach:
                    return False
                reach = stride * (length - 1) + reach
        return self.offset + reach <= self.storage.count

    def array(self) -> np.ndarray:
        """The elements, read-only and without a copy. `fits` holds for tensors of a file."""
        if self.storage.data is None:
            raise ValueError("the data of this storage is not in the file")
        if self.size == 0:
            return np.zeros(self.shape, self.dtype)
        flat = np.frombuffer(self.storage.data, self.dtype, self.storage.count)
        step = self.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            flat[self.offset :],
            self.shape,
            tuple(stride * step for stride in self.strides),
            writeable=False,
        )
        return view
