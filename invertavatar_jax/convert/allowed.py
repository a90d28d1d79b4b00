"""The allow-list: every name that a checkpoint may hold, and what is built in its place."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invertavatar_jax.convert.limits import Budget
from invertavatar_jax.convert.values import (
    DTYPES,
    MAX_AXES,
    Blob,
    Global,
    Record,
    Refused,
    Storage,
    Tensor,
)

# Classes of these packages become records. They are the released code's own packages, those
# of the networks that it loads, and torch's modules.
PACKAGES = (
    "torch.nn",
    "__torch__",  # classes that TorchScript compiled
    "encoder_inversion",
    "training_avatar_texture",
    "training",
    "torch_utils",
    "dnnlib",
    "mmseg",
    "timm",
    "lpips",
    "pytorch3d",
    "models",
    "networks",
)
CLASSES = {
    "argparse.Namespace",
    "numpy.ndarray",
    *(f"torch.{name}" for name in DTYPES),
    "torch.storage.UntypedStorage",
    "torch.Tensor",
    "torch._C._nn.gelu",  # as an attribute of transformer blocks
    *(f"torch.{name}" for name in ("float32", "float16", "bfloat16", "float64", "int64", "bool")),
}
DICTIONARIES = {
    "collections.OrderedDict",
    "dnnlib.util.EasyDict",
    "dnnlib.EasyDict",
    "easydict.EasyDict",
}
ARRAY, DTYPE = "numpy.ndarray", "numpy.dtype"
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NUMPY = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_OBJECTS = "O8"  # elements that are Python objects
_ITEM = 120  # bytes that an entry of a dictionary takes


@dataclass(slots=True)
class Context:
    """What the functions below may use, and which opcode calls them."""

    budget: Budget
    load: Callable[[Blob], Storage]  # reads a tensor file inside this file
    at: int = 0
    name: str = ""

    def refuse(self, what: str) -> Refused:
        """An error at the current opcode."""
        return Refused(self.at, f"{self.name} {what}")

    def pay(self, count: int) -> None:
        """Takes memory off the budget."""
        self.budget.pay(count, self.at, self.name)


def is_record(named: Global) -> bool:
    """Whether objects of this class may be kept as records."""
    inside = any(named.module == p or named.module.startswith(p + ".") for p in PACKAGES)
    return (inside or named.path == "argparse.Namespace") and named.path not in FUNCTIONS


def is_allowed(named: Global) -> bool:
    """Whether a checkpoint may hold this name."""
    if not _WORD.fullmatch(named.name):
        return False
    if not all(_WORD.fullmatch(word) for word in named.module.split(".")):
        return False
    path = named.path
    return path in FUNCTIONS or path in DICTIONARIES or path in CLASSES or is_record(named)


def shown(text: str) -> str:
    """Text of a file made fit for a message: printable, at most 80 characters."""
    near = text[:81]
    clean = "".join(char if char.isascii() and char.isprintable() else "?" for char in near)
    return clean if len(clean) <= 80 else clean[:77] + "..."


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, Global):
        return f"the name {value.path}"
    if isinstance(value, Record):
        return f"an object of {shown(value.path)}"
    names = {str: "text", Blob: "bytes", Tensor: "a tensor", Storage: "a storage"}
    names |= {type(None): "None", bool: "a truth value", int: "a number", float: "a number"}
    names |= {list: "a list", tuple: "a tuple", dict: "a dictionary"}
    return names.get(type(value), "a value of another kind")


def _expect(c: Context, values: tuple, kinds: tuple, least: int | None = None) -> None:
    """Checks arguments: between `least` and all of `kinds`, each of its kind."""
    if not (len(kinds) if least is None else least) <= len(values) <= len(kinds):
        raise c.refuse(f"has {len(values)} arguments, expected {len(kinds)}")
    for i, (value, kind) in enumerate(zip(values, kinds, strict=False)):
        if not isinstance(value, kind):
            raise c.refuse(f"has {kind_of(value)} as argument {i + 1}")


def _persistent(c: Context, arguments: tuple) -> Record:
    """An object of a class whose source text is in the file; the text is not read."""
    _expect(c, arguments, (dict,))
    meta = arguments[0]
    name, state = meta.get("class_name"), meta.get("state")
    if meta.get("type") != "class" or not isinstance(name, str) or not isinstance(state, dict):
        raise c.refuse("has no class name and state")
    return Record(shown(name), state, offset=c.at)


def _pairs(c: Context, arguments: tuple) -> dict[Any, Any]:
    """OrderedDict, empty or of a list of pairs."""
    _expect(c, arguments, (list,), least=0)
    made: dict[Any, Any] = {}
    c.pay(_ITEM * sum(map(len, arguments)))
    for pair in arguments[0] if arguments else []:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise c.refuse("has an entry that is not a name and a value")
        made[pair[0]] = pair[1]
    return made


def _set(c: Context, arguments: tuple) -> set[str]:
    """A set of names: protocols before 4 call `set` with a list."""
    _expect(c, arguments, (list,))
    c.pay(_ITEM * len(arguments[0]))
    if not all(isinstance(value, str) for value in arguments[0]):
        raise c.refuse("has a member that is not text")
    return set(arguments[0])


def _latin(c: Context, arguments: tuple) -> Blob:
    """Bytes as protocol 2 writes them: text, one character each."""
    _expect(c, arguments, (str, str))
    text, encoding = arguments
    c.pay(len(text))
    if encoding not in ("latin1", "latin-1"):
        raise c.refuse(f"asks for the encoding {shown(encoding)}")
    try:
        return Blob(memoryview(text.encode("latin-1")), c.at)
    except UnicodeEncodeError:
        raise c.refuse("has text that stands for no bytes") from None


def _parameter(c: Context, arguments: tuple) -> Tensor:
    _expect(c, arguments, (Tensor, bool, object, object), least=2)
    return replace(arguments[0], parameter=True)


def _tensor(c: Context, arguments: tuple) -> Tensor:
    kinds = (Storage, int, tuple, tuple, object, object, object)
    _expect(c, arguments, kinds, least=4)
    storage, offset, shape, strides = arguments[:4]
    return checked(c, Tensor(storage, offset, shape, strides))


def checked(c: Context, tensor: Tensor) -> Tensor:
    """The tensor, if its axes are plain counts and it stays inside its storage."""
    if len(tensor.shape) != len(tensor.strides):
        raise c.refuse(f"has {len(tensor.shape)} axes and {len(tensor.strides)} strides")
    for axes in (tensor.shape, tensor.strides, (tensor.offset,)):
        _check_counts(c, axes)
    if not tensor.fits():
        raise c.refuse(
            f"views shape {tensor.shape} with strides {tensor.strides} from element "
            f"{tensor.offset} of a storage of {tensor.storage.count}"
        )
    return tensor


def _check_counts(c: Context, axes: tuple) -> None:
    if len(axes) > MAX_AXES:
        raise c.refuse(f"has {len(axes)} axes; {MAX_AXES} is the most")
    if any(type(axis) is not int or not 0 <= axis < 2**48 for axis in axes):
        raise c.refuse("has a shape or a stride that is no count")


def _typed_tensor(c: Context, arguments: tuple) -> Tensor:
    """A tensor with attributes of its own, which are dropped."""
    _expect(c, arguments, (Global, Global, tuple, object))
    build = _TENSORS.get(arguments[0].path)
    if build is None:
        raise c.refuse(f"calls {arguments[0].path}, which makes no tensor")
    return build(c, arguments[2])


def _load_from_bytes(c: Context, arguments: tuple) -> Storage:
    _expect(c, arguments, (Blob,))
    return c.load(arguments[0])


def _size(c: Context, arguments: tuple) -> tuple:
    _expect(c, arguments, (tuple | list,))
    c.pay(16 * len(arguments[0]))
    return tuple(arguments[0])


def _kept(path: str) -> Callable[[Context, tuple], Record]:
    """A call that is kept as data."""
    return lambda c, arguments: Record(path, arguments=arguments, offset=c.at)


def _dtype(c: Context, arguments: tuple) -> Record:
    _expect(c, arguments, (str, object, object), least=1)
    if arguments[0] not in {*_NUMPY, _OBJECTS}:
        raise c.refuse(f"names the element type {shown(arguments[0])}; expected plain numbers")
    return Record(DTYPE, {"order": "<"}, (arguments[0],), c.at)


def _resolve(c: Context, record: Any) -> np.dtype:
    if not isinstance(record, Record) or record.path != DTYPE:
        raise c.refuse(f"has {kind_of(record)} in place of an element type")
    if record.arguments[0] == _OBJECTS:
        raise c.refuse("has Python objects as elements; expected plain numbers")
    return np.dtype(record.state["order"] + record.arguments[0])


def _scalar(c: Context, arguments: tuple) -> np.generic:
    _expect(c, arguments, (Record, Blob))
    dtype, data = _resolve(c, arguments[0]), arguments[1].view
    if len(data) != dtype.itemsize:
        raise c.refuse(f"has {len(data)} bytes for one {dtype}")
    return np.frombuffer(data, dtype, 1)[0]


def _empty_array(c: Context, arguments: tuple) -> Record:
    _expect(c, arguments, (Global, tuple, Blob))
    return Record(ARRAY, offset=c.at)


def _buffer_array(c: Context, arguments: tuple) -> Record:
    _expect(c, arguments, (Blob, Record, tuple, str))
    data, dtype, shape, order = arguments
    array = _array(c, data, dtype, shape, order == "F")
    return Record(ARRAY, {"array": array}, offset=c.at)


def _array(c: Context, data: Blob, dtype: Any, shape: tuple, by_column: bool) -> Tensor:
    """An array of NumPy as a tensor that views its bytes."""
    resolved = _resolve(c, dtype)
    _check_counts(c, shape)
    strides, step = [], 1
    for axis in shape if by_column else reversed(shape):
        strides.append(step)
        step *= max(axis, 1)
    strides = strides if by_column else strides[::-1]
    storage = Storage(resolved, len(data.view) // resolved.itemsize, data.view)
    tensor = checked(c, Tensor(storage, 0, shape, tuple(strides)))
    if tensor.nbytes != len(data.view):
        raise c.refuse(f"has {len(data.view)} bytes for shape {shape} of {resolved}")
    return tensor


Function = Callable[[Context, tuple], Any]
_TENSORS: dict[str, Function] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
FUNCTIONS: dict[str, Function] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _typed_tensor,
    "torch.storage._load_from_bytes": _load_from_bytes,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "torch.Size": _size,
    "torch.device": _kept("torch.device"),
    "functools.partial": _kept("functools.partial"),
    "types.SimpleNamespace": _kept("types.SimpleNamespace"),
    "pathlib.PosixPath": _kept("pathlib.PosixPath"),
    "pathlib.WindowsPath": _kept("pathlib.WindowsPath"),
    "collections.OrderedDict": _pairs,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "_codecs.encode": _latin,
    "numpy.dtype": _dtype,
    **{f"{module}.scalar": _scalar for module in _MULTIARRAY},
    **{f"{module}._reconstruct": _empty_array for module in _MULTIARRAY},
    "numpy.core.numeric._frombuffer": _buffer_array,
    "numpy._core.numeric._frombuffer": _buffer_array,
}


def build(c: Context, target: Any, state: Any) -> Any:
    """Gives an object its state, as the opcode BUILD does; calls no __setstate__."""
    if isinstance(target, dict):  # an OrderedDict's attributes, e.g. _metadata
        if not isinstance(state, dict):
            raise c.refuse(f"gives a dictionary {kind_of(state)} as its attributes")
    elif not isinstance(target, Record):
        raise c.refuse(f"gives {kind_of(target)} a state; expected an object")
    elif target.path == ARRAY:
        state = state if isinstance(state, tuple) else ()
        _expect(c, state, (int, tuple, Record, bool, Blob | list))
        if isinstance(state[4], Blob):
            target.state["array"] = _array(c, state[4], state[2], state[1], state[3])
        elif state[2].path != DTYPE or state[2].arguments[0] != _OBJECTS:
            raise c.refuse("has a list as its elements; expected plain numbers")
        else:
            target.state["items"] = state[4]
    elif target.path == DTYPE:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|"):
            raise c.refuse("gives an element type no byte order")
        target.state["order"] = state[1]
    elif target.path == "functools.partial":
        c.pay(_ITEM)
        target.state["state"] = state
    else:
        _update(c, target, state)
    return target


def _update(c: Context, target: Record, state: Any) -> None:
    """A dictionary of attributes, or a pair of them, the second for slots."""
    for part in state if isinstance(state, tuple) else (state,):
        if part is None:
            continue
        if not isinstance(part, dict):
            raise c.refuse(f"gives {shown(target.path)} {kind_of(part)} as its state")
        c.pay(_ITEM * len(part))
        target.state.update(part)
