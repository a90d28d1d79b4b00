"""Weights as a stage keeps them: what it trains by group, what moves by itself, what is frozen."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from invertavatar_jax import networks
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights
from invertavatar_jax.settings import Model

ENCODERS = ("encoder", "unet_encoder")  # they have batch statistics


def in_trunk(name: str) -> bool:
    """Whether a layer of E_latent, E_tex or E_tri belongs to its IR-SE trunk."""
    return name.startswith(("input_layer_", "body_"))


class Place(NamedTuple):
    """Where the parameters of a group are in a model's."""

    path: tuple[str, ...]
    trained: Callable[[str], bool] = lambda name: True  # of the names there


Places = Mapping[str, Place]


def complete(model: Model, key: jax.Array, weights: Weights | None) -> Weights:
    """Weights of all networks: fresh ones where the given ones lack a name.

    What is given beyond them (discriminators) stays.

    Raises:
        UserError: a given leaf has the shape of another model.
    """
    given = weights or {"params": {}, "buffers": {}}
    expected = networks.shapes(model)
    fresh = expected if _holds(given, expected) else networks.init(model, key)
    return {name: _over(fresh[name], given[name], name) for name in expected}


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
    """Weights -> parameters by group, and buffers: `frozen`, and `statistics` of the encoders."""
    params, groups = weights["params"], {}
    for name, place in places.items():
        groups[name], params = _take(params, *place)
    buffers = dict(weights["buffers"])
    statistics = {name: buffers.pop(name) for name in ENCODERS}
    return groups, {"frozen": {"params": params, "buffers": buffers}, "statistics": statistics}


def join(params: Mapping[str, Any], buffers: Mapping[str, Any], places: Places) -> Weights:
    """The inverse of split."""
    frozen = buffers["frozen"]
    whole = frozen["params"]
    for name, place in places.items():
        whole = _put(whole, place.path, params[name])
    return {"params": whole, "buffers": frozen["buffers"] | buffers["statistics"]}


def _take(tree: Mapping[str, Any], path: tuple[str, ...], trained: Callable[[str], bool]):
    if path:
        taken, rest = _take(tree[path[0]], path[1:], trained)
        return taken, {**tree, path[0]: rest}
    taken = {name: leaf for name, leaf in tree.items() if trained(name)}
    return taken, {name: leaf for name, leaf in tree.items() if name not in taken}


def _put(tree: Mapping[str, Any], path: tuple[str, ...], part: Mapping[str, Any]):
    if not path:
        return {**tree, **part}
    return {**tree, path[0]: _put(tree[path[0]], path[1:], part)}
