"""Files of torch.save before it wrote archives, whole or nested in a snapshot: five pickles
(a mark, a version, facts of the machine, the value, the keys of its storages), then the
storages' bytes.
"""

from typing import Any

from invertavatar_jax.convert import allowed, machine
from invertavatar_jax.convert.limits import MAX_NESTED, Budget
from invertavatar_jax.convert.span import Span
from invertavatar_jax.convert.values import DTYPES, Blob, Global, Refused, Storage

MARK = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first pickle
_VERSION = 1001
_STORAGE = 400  # bytes that Python takes for one


class Storages:
    """The storages that a file's persistent ids name, one per key."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self.by_key: dict[str, Storage] = {}

    def persistent(self, value: Any, offset: int) -> Storage:
        """The storage of an id ("storage", class, key, device, count)."""
        if not isinstance(value, tuple) or len(value) not in (5, 6) or value[0] != "storage":
            raise Refused(offset, "opcode BINPERSID names no storage")
        kind, key, _, count = value[1:5]
        dtype = DTYPES.get(kind.name) if isinstance(kind, Global) else None
        if dtype is None:
            raise Refused(offset, f"opcode BINPERSID has {allowed.kind_of(kind)} as storage class")
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
            raise Refused(offset, "opcode BINPERSID has no key and count of elements")
        if len(value) == 6 and value[5] is not None:
            raise Refused(offset, "opcode BINPERSID names a part of a storage, which is not read")
        known = self.by_key.get(key)
        if known is None:
            self.budget.pay(_STORAGE, offset, "opcode BINPERSID")
            known = self.by_key[key] = Storage(dtype, count)
        elif (known.dtype, known.count) != (dtype, count):
            raise Refused(offset, "opcode BINPERSID gives one storage two sizes")
        return known


def load(source: Span, budget: Budget, context: allowed.Context) -> Any:
    """Reads such a file to its end.

    Raises:
        Refused: it is damaged, foreign, or holds what is not allowed.
    """
    begin = source.offset
    if bytes(source.take(len(MARK), "the mark of a tensor file")) != MARK:
        raise Refused(begin, "the bytes are no tensor file of torch")
    version = machine.run(source, budget, context)
    if version != _VERSION:
        raise Refused(begin, f"the tensor file has version {version!r:.40}, expected {_VERSION}")
    facts = machine.run(source, budget, context)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Refused(begin, "the tensor file was not written by a little-endian machine")
    storages = Storages(budget)
    value = machine.run(source, budget, context, storages.persistent)
    keys = machine.run(source, budget, context)
    _fill(source, storages, keys)
    return value


def _fill(source: Span, storages: Storages, keys: Any) -> None:
    """Reads the storages' bytes, in the order of their keys."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused(source.offset, "the tensor file has no list of storages")
    if len(keys) != len(storages.by_key) or set(keys) != set(storages.by_key):
        raise Refused(
            source.offset,
            f"the tensor file lists {len(keys)} storages where {len(storages.by_key)} are used",
        )
    for key in keys:
        storage, offset = storages.by_key[key], source.offset
        count = source.number("<q", "the length of a storage")
        if count != storage.count:
            raise Refused(offset, f"a storage of {storage.count} elements has {count} of them")
        storage.data = source.take(count * storage.dtype.itemsize, "a storage")
    if source.left:
        raise Refused(source.offset, f"{source.left} bytes follow the end of the tensor file")


def load_nested(blob: Blob, budget: Budget, context: allowed.Context) -> Storage:
    """Reads a tensor file that is one storage: what a snapshot holds for each tensor."""
    budget.nested += 1
    if budget.nested > MAX_NESTED:
        raise Refused(blob.offset, f"more than {MAX_NESTED} files are nested")
    at, name = context.at, context.name
    value = load(Span(blob.view, blob.offset), budget, context)
    budget.nested -= 1
    context.at, context.name = at, name
    if not isinstance(value, Storage):
        raise Refused(blob.offset, f"a nested tensor file holds {allowed.kind_of(value)}")
    return value
