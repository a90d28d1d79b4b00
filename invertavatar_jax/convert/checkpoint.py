"""A released checkpoint -> our weights, a report of how the two compare, and the way back."""

import collections
import re
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from invertavatar_jax import weights
from invertavatar_jax.convert import config, contents, named_file, names, reader, released
from invertavatar_jax.convert.values import Tensor
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.pure import Weights

HEAD = "FaceVerse v3.1"  # of all released models that make avatars
_PREFERRED = ("G_ema", "G")
# Arrays that training adds and nothing here reads: the labels' deviation over the data set.
_LEFT_OUT = re.compile(rf"(^|\.)dataset_label_std$|{names.UNUSED.pattern}")
_LISTED = 20  # names of each sort in a report
_OTHER_FLOATS = {np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float64)}


class Source(NamedTuple):
    """A network of a checkpoint, and what it is here."""

    checkpoint: reader.Checkpoint
    network: contents.Network
    others: list[str]  # keys of the checkpoint's other networks
    kind: released.Kind | None
    config: config.Config | None
    template: Weights | None


class Comparison(NamedTuple):
    """How the arrays of a file compare with those that our network has."""

    missing: list[str]
    shapes: list[str]  # "name: found shape, expected shape"
    roles: list[str]  # a parameter where a buffer is expected, or the reverse
    unexpected: list[str]
    left_out: list[str]  # constants that are computed here, and counters
    parameters: int  # values of parameters in the file
    expected_parameters: int

    @property
    def complete(self) -> bool:
        """Whether every array that our network has is there, in its shape."""
        return not self.missing and not self.shapes


def open_source(path: str | Path, key: str | None = None) -> Source:
    """Reads a checkpoint and recognises one of its networks.

    Args:
        key: of the network; None takes G_ema, else G, else the file's largest.

    Raises:
        UserError: the file is refused, or holds no such network.
    """
    checkpoint = reader.read(path)
    found = {name: net for name, net in contents.networks(checkpoint).items() if net.arrays}
    if not found:
        raise UserError(f"{checkpoint.path} holds no arrays; expected a checkpoint of networks.")
    if key is not None and key not in found:
        known = ", ".join(name or "(the file)" for name in found)
        raise UserError(f"{checkpoint.path} has no network {key!r}; it holds {known}.")
    network = found[_choose(found) if key is None else key]
    others = [name for name in found if name != network.key]
    kind = released.kind_of(network.arrays)
    if kind is None:
        return Source(checkpoint, network, others, kind, None, None)
    sizes = config.read(network, kind.preset)
    shapes = {name: tensor.shape for name, tensor in network.arrays.items()}
    template = kind.template(sizes.model, shapes)
    return Source(checkpoint, network, others, kind, sizes, template)


def _choose(found: dict[str, contents.Network]) -> str:
    for name in _PREFERRED:
        if name in found:
            return name
    return max(found, key=lambda name: len(found[name].arrays))


def compare(source: Source) -> Comparison:
    """Compares names, shapes, roles and counts with our network's own.

    Roles are compared where the file tells them: a state dict holds parameters and buffers
    alike.
    """
    arrays = _renamed(source)
    table = names.released_shapes(source.template) if source.template is not None else {}
    told = any(tensor.parameter for tensor in arrays.values())
    mesh = source.kind.mesh if source.kind is not None else ()
    left_out = [name for name in arrays if _LEFT_OUT.search(name) or name in mesh]
    both = [name for name in table if name in arrays]
    shapes = [
        f"{name}: {list(arrays[name].shape)}, expected {list(table[name][0])}"
        for name in both
        if arrays[name].shape != table[name][0]
    ]
    role = {True: "a parameter", False: "a buffer"}
    roles = [
        f"{name}: {role[arrays[name].parameter]}, expected {role[table[name][1]]}"
        for name in both
        if told and arrays[name].parameter != table[name][1]
    ]
    size = lambda shape: int(np.prod(shape, dtype=np.int64))
    counted = [
        name for name in arrays if (arrays[name].parameter if told else _trained(name, table))
    ]
    return Comparison(
        missing=[name for name in table if name not in arrays],
        shapes=shapes,
        roles=roles,
        unexpected=[name for name in arrays if name not in table and name not in left_out],
        left_out=left_out,
        parameters=sum(arrays[name].size for name in counted),
        expected_parameters=sum(size(shape) for shape, trained in table.values() if trained),
    )


def _trained(name: str, table: dict[str, tuple[tuple[int, ...], bool]]) -> bool:
    return name in table and table[name][1]


def _renamed(source: Source) -> dict[str, Tensor]:
    """The arrays under the names that our network's places have in a released file."""
    rename = source.kind.rename if source.kind is not None else (lambda name: name)
    return {rename(name): tensor for name, tensor in source.network.arrays.items()}


def read_weights(source: Source) -> Weights:
    """Our weights: views of the file where it holds float32, else float32 copies.

    Raises:
        UserError: arrays are missing or have other shapes.
    """
    compared = compare(source)
    if source.template is None or not compared.complete:
        first = (compared.missing or compared.shapes or ["its network is unknown"])[0]
        raise UserError(
            f"{source.checkpoint.path} does not fit: {len(compared.missing)} arrays are missing "
            f"and {len(compared.shapes)} have other shapes, first {first}; "
            "`./avatar convert FILE --inspect` lists what it holds."
        )
    table = names.released_shapes(source.template)
    arrays = _renamed(source)
    return names.import_weights(source.template, {name: _exact(arrays[name]) for name in table})


def _exact(tensor: Tensor) -> np.ndarray:
    array = tensor.array()
    return array.astype(np.float32) if tensor.dtype in _OTHER_FLOATS else array


def convert(source: Source, out: str | Path) -> None:
    """Writes a network as safetensors: our weights where the network has a place here.

    Another network keeps its released names and layout, as a plain state dict.

    Raises:
        UserError: arrays are missing or have other shapes, or `out` cannot be written.
    """
    details = {"source": describe(source)}
    if source.template is None or source.kind is None or source.config is None:
        _write_named(out, source.network.arrays, details)
        return
    converted = read_weights(source)
    mesh = {name: source.network.arrays[name] for name in source.kind.mesh}
    if mesh:
        converted["mesh"] = {name: tensor.array() for name, tensor in mesh.items()}
    if source.kind.name == weights.WHOLE:
        details["facts"] = {"head": HEAD}
    weights.save_exact(out, converted, source.config.model, details, source.kind.name)


def _write_named(out: str | Path, arrays: dict[str, Any], details: dict[str, Any]) -> None:
    """Writes released names; torch's tools ask for `format`."""
    listed = [(name, tuple(array.shape), array.dtype) for name, array in arrays.items()]
    get = lambda name: arrays[name].array() if isinstance(arrays[name], Tensor) else arrays[name]
    metadata = tensors.metadata("state dict", details) | {"format": "pt"}
    named_file.write(out, listed, get, metadata)


def export(path: str | Path, out: str | Path) -> dict[str, Any]:
    """Our weights -> a plain state dict with the released names and layout.

    Returns:
        Which network it is, and the counts of arrays and values.

    Raises:
        UserError: `path` is no file of weights, or `out` cannot be written.
    """
    read, details = weights.load_network(path)
    network = details.get("network", weights.WHOLE)
    named = names.export_weights(read)
    kind = next((kind for kind in released.KINDS if kind.name == network), None)
    if kind is not None:
        named = {kind.restore(name): array for name, array in named.items()}
    _write_named(out, named, {"network": network})
    values = sum(array.size for array in named.values())
    return {"network": network, "arrays": len(named), "values": values}


def describe(source: Source) -> dict[str, Any]:
    """What a network is and what its file says of it, as JSON can hold it."""
    sizes = source.config
    return {
        "file": source.checkpoint.path.name,
        "layout": source.checkpoint.layout,
        "network": source.network.key,
        "class": source.network.kind,
        "recognised": source.kind.title if source.kind else "unknown: kept as it is named",
        "constructor": sizes.arguments if sizes else {},
        "differs": sizes.differs if sizes else [],
        "plane_axes": config.plane_axes(source.network),
    }


def report(source: Source) -> dict[str, Any]:
    """A comparison in words: counts, and the first names of each sort."""
    compared = compare(source)
    arrays = source.network.arrays.values()
    count, values = len(arrays), sum(tensor.size for tensor in arrays)
    told = {
        "arrays": count,
        "element types": dict(collections.Counter(t.dtype.name for t in arrays)),
        "values": values,
        "other networks": ", ".join(source.others) or "none",
    }
    if source.template is None:
        return told
    for title, listed in (
        ("missing", compared.missing),
        ("other shapes", compared.shapes),
        ("other roles", compared.roles),
        ("unexpected", compared.unexpected),
    ):
        more = [f"... and {len(listed) - _LISTED} more"] if len(listed) > _LISTED else []
        told[title] = [*listed[:_LISTED], *more] if listed else "none"
    told["constants left out"] = len(compared.left_out)
    told["parameters"] = compared.parameters
    told["expected parameters"] = compared.expected_parameters
    clean = not (compared.missing or compared.shapes or compared.roles or compared.unexpected)
    told["fits"] = clean and compared.parameters == compared.expected_parameters
    return told


def inspect(path: str | Path) -> dict[str, Any]:
    """All that a file holds: networks with names, shapes, element types, classes, arguments.

    Raises:
        UserError: the file is refused.
    """
    checkpoint = reader.read(path)
    found = contents.networks(checkpoint)
    described = {}
    for key, network in found.items():
        kind = released.kind_of(network.arrays)
        described[key or "(the file)"] = {
            "class": network.kind,
            "recognised": kind.title if kind else "unknown",
            "parameters": sum(t.size for t in network.arrays.values() if t.parameter),
            "constructor": network.arguments,
            "arrays": {
                name: f"{tensor.dtype} {list(tensor.shape)}"
                for name, tensor in network.arrays.items()
            },
            "classes": network.classes,
            "attributes": network.attributes,
        }
    result: dict[str, Any] = {"file": str(checkpoint.path), "layout": checkpoint.layout}
    result |= {"bytes": checkpoint.size, "networks": described}
    if isinstance(checkpoint.value, dict):
        rest = {key: value for key, value in checkpoint.value.items() if key not in found}
        rest = {key: value for key, value in rest.items() if contents.as_tensor(value) is None}
        result["other values"] = contents.plain(rest)
    return result
