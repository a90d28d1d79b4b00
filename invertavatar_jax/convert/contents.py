"""The networks in a checkpoint: arrays by their released names, classes, constructor arguments."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from invertavatar_jax.convert import allowed, reader
from invertavatar_jax.convert.limits import MAX_DEPTH, MAX_ENTRIES
from invertavatar_jax.convert.reader import Checkpoint
from invertavatar_jax.convert.values import Blob, Global, Record, Refused, Storage, Tensor

STATE_DICT = "state dict"
_MODULE = ("_parameters", "_buffers", "_modules")
_SCRIPT = "__torch__."
_LEVELS = 3  # of dictionaries above a network
_EFFORT = 1_000_000  # entries of dictionaries that are looked at
_SHOWN = 100_000  # values that a network's description holds
_NAME = 400  # characters of an array's name
# Bytes that the arrays may have, relative to the file: they may share storages, but not so
# that a small file becomes a large one.
_GROWTH, _SLACK = 2, 2**20


class Network(NamedTuple):
    """One network of a checkpoint."""

    key: str  # where it stands: "G_ema"; "" is the file itself
    kind: str  # the path of its class, or "state dict"
    arrays: dict[str, Tensor]  # by released name, in the order of torch's state_dict
    classes: dict[str, str]  # of its modules, by name; "" is itself
    arguments: dict[str, Any]  # of its modules' constructors, by name, where they are stored
    attributes: dict[str, dict[str, Any]]  # plain numbers, text and arrays of its modules

    def check_size(self, checkpoint: Checkpoint) -> None:
        """Refuses arrays that would take far more room than the file.

        Raises:
            UserError: they would.
        """
        total = sum(tensor.nbytes for tensor in self.arrays.values())
        if total > _GROWTH * checkpoint.size + _SLACK:
            what = f"its arrays share storages: {checkpoint.size} bytes would become {total}"
            raise reader.refusal(checkpoint.path, Refused(0, what))


def networks(checkpoint: Checkpoint) -> dict[str, Network]:
    """All networks of a checkpoint, by their keys.

    Raises:
        UserError: modules are nested too deeply or too many, or their state is malformed.
    """
    found: dict[str, Network] = {}
    effort = _Effort(_EFFORT)
    try:
        for key, value in _candidates(checkpoint.value, "", _LEVELS, effort):
            found[key] = _network(key, value, effort)
    except Refused as reason:
        raise reader.refusal(checkpoint.path, reason) from None
    for network in found.values():
        network.check_size(checkpoint)
    return found


class _Effort:
    """Counts what is looked at: values may contain one another many times over."""

    def __init__(self, left: int):
        self.left = left

    def spend(self, count: int, name: str, offset: int = 0) -> None:
        """Takes `count` off; below zero the file is refused."""
        self.left -= count
        if self.left < 0:
            what = f"{allowed.shown(name) or 'the file'} holds more entries than a checkpoint does"
            raise Refused(offset, what)


def _candidates(value: Any, key: str, levels: int, effort: _Effort) -> Iterator[tuple[str, Any]]:
    """Modules and state dicts, with the keys that lead to them."""
    if isinstance(value, dict):
        effort.spend(len(value), key)
    if _is_module(value) or (isinstance(value, dict) and _holds_tensors(value)):
        yield key, value
    if isinstance(value, dict) and levels:
        for name, entry in value.items():
            if isinstance(name, str):
                yield from _candidates(entry, _join(key, name), levels - 1, effort)


def _join(name: str, leaf: Any) -> str:
    joined = f"{name}.{leaf}" if name else str(leaf)
    if len(joined) > _NAME:
        raise Refused(0, f"the name {allowed.shown(joined)} is longer than {_NAME} characters")
    return joined


def _is_module(value: Any) -> bool:
    if not isinstance(value, Record):
        return False
    return value.path.startswith(_SCRIPT) or isinstance(value.state.get("_modules"), dict)


def as_tensor(value: Any) -> Tensor | None:
    """The tensor that a value is or wraps, if it is one."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Record) and value.path == allowed.ARRAY:
        return value.state.get("array")
    return None


def _holds_tensors(values: dict) -> bool:
    """Whether a dictionary holds tensors directly."""
    return any(as_tensor(value) is not None for value in values.values())


def _network(key: str, value: Any, effort: _Effort) -> Network:
    network = Network(key, STATE_DICT, {}, {}, {}, {})
    if isinstance(value, dict):
        for name, entry in value.items():
            tensor = as_tensor(entry)
            if tensor is not None and isinstance(name, str):
                network.arrays[_join("", name)] = tensor
        return network
    network = network._replace(kind=value.path)
    shown, count = [_SHOWN], 0
    pending = [("", value, 0)]  # a stack, so that the order is torch's
    while pending:
        name, module, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_ENTRIES or len(network.arrays) > MAX_ENTRIES:
            what = f"module {allowed.shown(name)} is nested too deeply, or one of too many"
            raise Refused(module.offset, what)
        effort.spend(len(module.state), name, module.offset)
        _describe(network, name, module, shown)
        children = _visit(network, name, module, effort)
        pending += [(inner, child, depth + 1) for inner, child in reversed(children)]
    return network


def _visit(
    network: Network, name: str, module: Record, effort: _Effort
) -> list[tuple[str, Record]]:
    """Takes a module's own arrays and returns its children."""
    state = module.state
    if module.path.startswith(_SCRIPT):
        groups = [state]
    else:
        groups = [state.get(group) for group in _MODULE]
        if not all(isinstance(group, dict) for group in groups):
            what = f"module {allowed.shown(name) or module.path} lacks a module's dictionaries"
            raise Refused(module.offset, what)
    hidden = state.get("_non_persistent_buffers_set")
    hidden = hidden if isinstance(hidden, set) else set()
    children = []
    for group in groups:
        effort.spend(len(group), name, module.offset)
        for leaf, entry in group.items():
            tensor = as_tensor(entry)
            if tensor is not None and leaf not in hidden:
                network.arrays[_join(name, leaf)] = tensor
            elif _is_module(entry):
                children.append((_join(name, leaf), entry))
    return children


def _describe(network: Network, name: str, module: Record, left: list[int]) -> None:
    """Notes a module's class, its constructor's arguments and its plain attributes."""
    network.classes[name] = module.path
    arguments = module.state.get("_init_args"), module.state.get("_init_kwargs")
    if arguments != (None, None):
        described = plain(arguments[0] or (), left), plain(arguments[1] or {}, left)
        network.arguments[name] = {"args": described[0], "kwargs": described[1]}
    attributes = {
        key[:_NAME]: plain(value, left)
        for key, value in module.state.items()
        if isinstance(key, str) and not key.startswith("_") and _is_plain(value)
    }
    if attributes:
        network.attributes[name] = attributes


def _is_plain(value: Any) -> bool:
    tensor = as_tensor(value)
    if tensor is not None:
        return tensor.size <= 64
    return isinstance(value, bool | int | float | str | np.generic) or value is None


def plain(value: Any, left: list[int] | None = None, depth: int = 0) -> Any:
    """A value as JSON can hold it: records and names as text, small arrays as lists."""
    left = [_SHOWN] if left is None else left
    left[0] -= 1
    if left[0] < 0 or depth > 8:
        return "..."
    inner = lambda entry: plain(entry, left, depth + 1)
    if isinstance(value, dict):
        return {str(key)[:200]: inner(entry) for key, entry in value.items() if left[0] > 0}
    if isinstance(value, list | tuple):
        return [inner(entry) for entry in value if left[0] > 0]
    if isinstance(value, set):
        return [inner(entry) for entry in sorted(map(str, value)) if left[0] > 0]
    tensor = as_tensor(value)
    if tensor is not None:
        if tensor.size <= 64 and tensor.storage.data is not None:
            return plain(tensor.array().astype(np.float64).tolist(), left, depth + 1)
        return f"{tensor.dtype} array of shape {list(tensor.shape)}"
    shown = _scalar(value)
    left[0] -= len(shown) // 50 if isinstance(shown, str) else 0
    return shown


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if len(value) <= 2000 else value[:2000] + "..."
    if isinstance(value, Record):
        parts = [str(part) for part in value.arguments if isinstance(part, str | int)]
        return f"{value.path}({', '.join(parts)[:200]})"
    if isinstance(value, Global):
        return value.path
    if isinstance(value, Blob):
        return f"{len(value.view)} bytes"
    return f"{value.dtype} storage" if isinstance(value, Storage) else str(value)[:200]
