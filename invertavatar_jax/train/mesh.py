"""Which device holds what: a ('data', 'model') mesh and rules over the paths of parameters."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "model")
# how a leaf is spread: names of mesh axes for its last axes, "largest" for the longest axis
# that the data axis divides, () for a copy everywhere
Rule = tuple[str, tuple[str | None, ...] | str]


def make_mesh(data: int = -1, model: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of devices; -1 takes all that are left.

    Raises:
        ValueError: there are not as many devices, or some process would have none of them.
    """
    found = list(jax.devices() if devices is None else devices)
    data = len(found) // model if data == -1 else data
    if data < 1 or data * model > len(found):
        raise ValueError(
            f"mesh: got data = {data} and model = {model}, expected a product of at most "
            f"{len(found)}, the number of devices"
        )
    if jax.process_count() > 1 and data * model < len(found):
        raise ValueError(
            f"mesh: got data = {data} and model = {model}, expected a product of {len(found)}: "
            "several processes use all of their devices"
        )
    grid = np.array(found[: data * model]).reshape(data, model)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 2)


def path_of(entries) -> str:
    """A leaf's path in a tree, with slashes."""
    return "/".join(
        str(getattr(e, "key", getattr(e, "name", getattr(e, "idx", e)))) for e in entries
    )


def shardings(tree, rules: Sequence[Rule], mesh: Mesh):
    """The sharding of every leaf of a (perhaps abstract) tree; the first rule that matches wins.

    Rules are searched for in the path, so those of parameters hold for an optimizer's moments
    and for running averages too. Scalars are everywhere.

    Raises:
        ValueError: no rule matches a leaf, or its axis cannot be divided.
    """

    def place(entries, leaf):
        path = path_of(entries)
        if not leaf.ndim:
            return NamedSharding(mesh, PartitionSpec())
        for pattern, spec in rules:
            if re.search(pattern, path):
                return NamedSharding(mesh, _partition(path, leaf.shape, spec, mesh))
        raise ValueError(f"sharding: no rule matches {path}")

    return jax.tree_util.tree_map_with_path(place, tree)


def _partition(path: str, shape: tuple[int, ...], spec, mesh: Mesh) -> PartitionSpec:
    if spec == "largest":
        ways = mesh.shape["data"]
        longest = max(range(len(shape)), key=lambda i: (shape[i] % ways == 0) * shape[i])
        if shape[longest] % ways:
            return PartitionSpec()
        return PartitionSpec(*[None] * longest, "data")
    spec = spec[-len(shape) :] if len(spec) > len(shape) else spec
    placed = PartitionSpec(*[None] * (len(shape) - len(spec)), *spec)
    for size, axis in zip(shape, placed, strict=True):
        if axis is not None and size % mesh.shape[axis]:
            raise ValueError(
                f"sharding: {path} of shape {shape} cannot be divided over the "
                f"{mesh.shape[axis]} devices of {axis!r}"
            )
    used = max((i + 1 for i, axis in enumerate(placed) if axis is not None), default=0)
    return PartitionSpec(*placed[:used])  # to jax.jit, P() and P(None) are two programs
