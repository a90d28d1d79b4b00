"""Names and layouts: arrays named as in the released checkpoints <-> our weights."""

import re
from collections.abc import Iterable, Mapping

import jax
import numpy as np

from invertavatar_jax.pure import Weights

# Constants that are computed here, and counters that nothing reads. SPEC section 13.
UNUSED = re.compile(r"(resample_filter|num_batches_tracked|black_uv_bg)$")


def path_of(name: str) -> tuple[str, ...]:
    """Splits a released name; list positions join the name before: a.0.b -> (a_0, b)."""
    return tuple(re.sub(r"\.(\d+)(?=\.|$)", r"_\1", name).split("."))


def to_ours(array: np.ndarray, leaf: str) -> np.ndarray:
    """Reorders axes: OIHW -> HWIO, (out, in) -> (in, out), const CHW -> HWC."""
    if leaf == "weight" and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if leaf == "weight" and array.ndim == 2:
        return array.T
    if leaf == "const":
        return array.transpose(1, 2, 0)
    return array


def name_of(path: Iterable[str]) -> str:
    """The released name of a place in our weights; the inverse of path_of."""
    return ".".join(re.sub(r"_(?=\d+(_\d+)*$)", ".", part) for part in path)


def to_released(array: np.ndarray, leaf: str) -> np.ndarray:
    """The inverse of to_ours."""
    if leaf == "weight" and array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if leaf == "weight" and array.ndim == 2:
        return array.T
    if leaf == "const":
        return array.transpose(2, 0, 1)
    return array


def export_weights(weights: Weights) -> dict[str, np.ndarray]:
    """Arrays of our weights under their released names and in the released layout.

    The inverse of import_weights, bit for bit. What import_weights drops, the constants of
    UNUSED, is not made again.
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    named = {}
    for path, leaf in flat:
        keys = [entry.key for entry in path[1:]]
        named[name_of(keys)] = to_released(np.asarray(leaf), keys[-1])
    return named


def released_shapes(template: Weights) -> dict[str, tuple[tuple[int, ...], bool]]:
    """What a released file must hold for `template`: shape, and whether it is a parameter."""
    table = {}
    for path, (collection, shape) in _leaves(template).items():
        hollow = np.broadcast_to(np.zeros((), np.bool_), shape)  # takes no memory
        released = to_released(hollow, path[-1]).shape
        table[name_of(path)] = (released, collection == "params")
    return table


def _leaves(weights: Weights) -> dict[tuple[str, ...], tuple[str, tuple]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    keys = [tuple(entry.key for entry in path) for path, _ in flat]
    return {key[1:]: (key[0], leaf.shape) for key, (_, leaf) in zip(keys, flat, strict=True)}


def import_weights(
    template: Weights, named: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]
) -> Weights:
    """Fills the structure of `template` (arrays or shapes) from released arrays.

    Names are relative to the network that `template` belongs to.

    Raises:
        KeyError: a name has no place here, or a place has no name.
        ValueError: a shape differs.
    """
    places = _leaves(template)
    result: Weights = {collection: {} for collection in template}
    for name, array in dict(named).items():
        if UNUSED.search(name):
            continue
        path = path_of(name)
        if path not in places:
            raise KeyError(f"{name}: this network has no such weight")
        collection, shape = places.pop(path)
        array = to_ours(np.asarray(array), path[-1])
        if array.shape != shape:
            raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
        tree = result[collection]
        for key in path[:-1]:
            tree = tree.setdefault(key, {})
        tree[path[-1]] = array
    if places:
        raise KeyError(f"no array for {len(places)} weights, first {'.'.join(min(places))}")
    return result
