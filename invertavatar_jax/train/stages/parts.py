"""Weights as a stage keeps them: what it trains by group, what moves by itself, what is frozen."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from invertavatar_jax import networks
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights
from invertavatar_jax.settings import Model

ENCODERS = ("encoder", "unet_encoder")  # they have batch statistics


# Where the parameters of each group are: a regular expression for their paths in a model's
Places = Mapping[str, str]


def complete(
    model: Model, key: jax.Array, weights: Weights | None, *, exact: bool = False
) -> Weights:
    """Weights of all networks: fresh ones where the given ones lack a name.

    Args:
        exact: drops what is given beyond them (discriminators, another aggregator).

    Raises:
        UserError: a given leaf has the shape of another model.
    """
    given = weights or {"params": {}, "buffers": {}}
    expected = networks.shapes(model)
    fresh = expected if _holds(given, expected) else networks.init(model, key)
    found = {name: _over(fresh[name], given[name], name) for name in expected}
    return _only(found, expected) if exact else found


def without(weights: Weights, place: str) -> Weights:
    """Weights that lack the parameters of a place, a regular expression for their paths."""
    return {**weights, "params": _take(weights["params"], re.compile(place))[1]}


def _only(tree: Any, expected: Any) -> Any:
    if not isinstance(expected, Mapping):
        return tree
    return {name: _only(tree[name], below) for name, below in expected.items()}


def _holds(given: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    inside = lambda name, tree: not isinstance(tree, Mapping) or _holds(given[name], tree)
    return all(name in given and inside(name, tree) for name, tree in expected.items())


def _over(below: Any, given: Any, path: str) -> Any:
    """The given tree, and what only the one below it has."""
    if isinstance(below, Mapping):
        mixed = {n: _over(x, given[n], f"{path}.{n}") for n, x in below.items() if n in given}
        return {**below, **given, **mixed}
    if np.shape(given) != below.shape:
        raise UserError(
            f"The weights to begin with are those of another model: {path} has the shape "
            f"{np.shape(given)}, expected {below.shape}; name others, or train their preset."
        )
    return given


def split(weights: Weights, places: Places) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights -> parameters by group, and buffers: `frozen`, and `statistics` of the encoders.

    A group's parameters keep their places in a model's tree.
    """
    params, groups = weights["params"], {}
    for name, place in places.items():
        groups[name], params = _take(params, re.compile(place))
    buffers = dict(weights["buffers"])
    statistics = {name: buffers.pop(name) for name in ENCODERS}
    return groups, {"frozen": {"params": params, "buffers": buffers}, "statistics": statistics}


def join(params: Mapping[str, Any], buffers: Mapping[str, Any], places: Places) -> Weights:
    """The inverse of split."""
    frozen = buffers["frozen"]
    whole = functools.reduce(_both, [params[name] for name in places], frozen["params"])
    return {"params": whole, "buffers": frozen["buffers"] | buffers["statistics"]}


def _take(tree: Mapping[str, Any], place: re.Pattern, path: str = "") -> tuple[dict, dict]:
    """The leaves of a place, and the others."""
    taken, rest = {}, {}
    for name, below in tree.items():
        if not isinstance(below, Mapping):
            (taken if place.match(path + name) else rest)[name] = below
            continue
        inside, outside = _take(below, place, f"{path}{name}/")
        if inside:
            taken[name] = inside
        if outside or not inside:
            rest[name] = outside
    return taken, rest


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees without a common leaf as one."""
    shared = {name: _both(one[name], other[name]) for name in one if name in other}
    return {**one, **other, **shared}
