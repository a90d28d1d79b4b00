"""Weights that others trained, taken over by name where they fit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from invertavatar_jax.pure import Weights
from invertavatar_jax.train.mesh import path_of

_BACKBONES = ("backbone", "texture_backbone", "face_backbone")


class Inherited(NamedTuple):
    """What came of weights that were offered."""

    weights: Any
    skipped: tuple[str, ...]  # offered, but not taken: "path: why"
    fresh: tuple[str, ...]  # paths that nothing was offered for, or that were skipped


def inherit(own: Any, offered: Any) -> Inherited:
    """Takes over every array whose path is one of our own, in its shape.

    Args:
        own: the tree as it starts without them.
        offered: a tree that may lack or add leaves.
    """
    arrays = {path_of(path): leaf for path, leaf in _flat(offered)}
    shapes = {path_of(path): jnp.shape(leaf) for path, leaf in _flat(own)}
    skipped = tuple(
        f"{path}: {_why(jnp.shape(leaf), shapes.get(path))}"
        for path, leaf in arrays.items()
        if jnp.shape(leaf) != shapes.get(path)
    )
    fits = {path for path, leaf in arrays.items() if jnp.shape(leaf) == shapes.get(path)}
    take = lambda path, leaf: (
        jnp.asarray(arrays[path_of(path)], leaf.dtype) if path_of(path) in fits else leaf
    )
    weights = jax.tree_util.tree_map_with_path(take, own)
    return Inherited(weights, skipped, tuple(path for path in shapes if path not in fits))


def generator_of(weights: Weights) -> Weights:
    """The generator among weights: a whole model's, a generator's alone, or EG3D's.

    EG3D has one backbone, which is offered to all three.

    Source: TRAINING A ("init").
    """
    params = weights["params"]
    if "generator" in params:
        return {name: tree.get("generator", {}) for name, tree in weights.items()}
    if "texture_backbone" in params or "backbone" not in params:
        return weights
    return {name: _thrice(tree) for name, tree in weights.items()}


def _thrice(tree: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tree) | {name: tree["backbone"] for name in _BACKBONES if "backbone" in tree}


def _flat(tree):
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _why(found: tuple[int, ...], expected: tuple[int, ...] | None) -> str:
    if expected is None:
        return "this model has no such array"
    return f"shape {list(found)}, expected {list(expected)}"
