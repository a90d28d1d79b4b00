"""Snapshots in the released format, from a table of names: classes, hooks, nested tensors."""

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from tests.convert import pickles
from tests.convert.pickles import ORDERED, Call, Name, New, Writer, nested

_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
PERSISTENT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
_SOURCE = "raise SystemExit('the text of a snapshot must never be run')\n"
_PLAIN = Name("torch.nn.modules.container", "Sequential")

Row = tuple[str, bool, Callable[[], np.ndarray]]  # name, whether a parameter, its array


class Lazy:
    """A tensor that is drawn only when it is written, so that memory stays small."""

    def __init__(self, get: Callable[[], np.ndarray], parameter: bool):
        self.get, self.parameter = get, parameter


def _put_lazy(w: Writer, value: Lazy) -> None:
    w.put(nested(value.get(), parameter=value.parameter))


pickles.PUT[Lazy] = _put_lazy


def module(
    path: Name | str, state: dict[str, Any], arguments: dict[str, Any] | None = None
) -> Call | New:
    """An object: of a plain class by its Name, or of a persistent one by its class's name."""
    if isinstance(path, Name):
        return New(path, state)
    state = state | {"_init_args": (), "_init_kwargs": arguments or {}}
    meta = {"type": "class", "version": 6, "module_src": _SOURCE, "class_name": path}
    return Call(PERSISTENT, (meta | {"state": state},))


def module_state() -> dict[str, Any]:
    """What every module of torch has."""
    state: dict[str, Any] = {"training": False, "_parameters": {}, "_buffers": {}}
    state["_non_persistent_buffers_set"] = set()
    state |= {hook: Call(ORDERED) for hook in _HOOKS}
    return state | {"_is_full_backward_hook": None, "_modules": {}}


def build(rows: Iterable[Row], classes: Callable[[str], Any], attributes: dict | None = None):
    """Modules of modules from released names.

    Args:
        classes: module's name -> what `module` takes: a Name or text, and arguments.
        attributes: more state, by module's name.
    """
    states: dict[str, dict[str, Any]] = {"": module_state()}
    for name, parameter, get in rows:
        *above, leaf = name.split(".")
        for i in range(len(above) + 1):
            states.setdefault(".".join(above[:i]), module_state())
        group = "_parameters" if parameter else "_buffers"
        states[".".join(above)][group][leaf] = Lazy(get, parameter)
    for name, more in (attributes or {}).items():
        states.setdefault(name, module_state()).update(more)
    for name in sorted(states, key=lambda name: -name.count(".") if name else 1):
        path, arguments = classes(name)
        made = module(path, states[name], arguments)
        if not name:
            return made
        above, _, leaf = name.rpartition(".")
        states[above]["_modules"][leaf] = made
    raise ValueError("no rows")


def write_snapshot(out: BinaryIO, value: dict[str, Any], protocol: int = 4) -> None:
    """A snapshot of the released code: one plain pickle."""
    Writer(out, protocol).finish(value)


_STYLE = ("texture_backbone", "face_backbone", "backbone", "superresolution", "mouth_backbone")


def classes(root: Name | str, arguments: dict[str, Any]) -> Callable[[str], Any]:
    """Classes as in the released snapshots: StyleGAN's are persistent, all others plain."""

    def choose(name: str) -> tuple[Name | str, dict[str, Any] | None]:
        inner = name.removeprefix("generator").removeprefix(".")
        if isinstance(root, str) and not name:
            return root, arguments
        if name == "generator":
            return "TriPlaneGenerator", arguments
        if inner.split(".")[0] in _STYLE and inner:
            return "SynthesisLayer" if "conv" in inner else "MappingNetwork", {"w_dim": 512}
        return (root if not name else _PLAIN), None

    return choose
