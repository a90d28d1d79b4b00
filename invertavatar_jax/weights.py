"""Weights on disk: one safetensors file with the model's sizes and how it was trained."""

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from invertavatar_jax import networks, settings
from invertavatar_jax.convert import named_file
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.pure import Weights

BUNDLED = "assets/small.safetensors"
WHOLE = "avatar"  # the name of all networks of a model together


def bundled_path() -> Path:
    """Where the default weights of the package are."""
    return Path(str(resources.files("invertavatar_jax") / BUNDLED))


def _names(weights: Weights) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {".".join(entry.key for entry in path): leaf for path, leaf in flat}


def save(
    path: str | os.PathLike, weights: Weights, model: settings.Model, facts: Mapping[str, Any]
) -> None:
    """Writes weights, rounded to bfloat16, with the model's sizes and facts of the training.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    arrays = {
        name: np.asarray(leaf).astype(ml_dtypes.bfloat16) for name, leaf in _names(weights).items()
    }
    details = {"model": settings.to_dict(model), "facts": dict(facts)}
    tensors.write_tensors(path, "weights", arrays, details)


def save_exact(
    path: str | os.PathLike,
    weights: Weights,
    model: settings.Model | settings.Next3D,
    details: Mapping[str, Any],
    network: str = WHOLE,
) -> None:
    """Writes weights array by array, so that they may be views of another file.

    Args:
        weights: collections of float32 arrays; besides params and buffers there may be a
            `mesh`, whose arrays may have other types.
        details: JSON-able; `facts` among them is what `load` returns.
        network: which networks these are; `load` reads WHOLE, `load_network` any.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    named = _names(weights)
    described = {"facts": {}, **details, "model": settings.to_dict(model), "network": network}
    sizes = [(name, np.shape(leaf), leaf.dtype) for name, leaf in named.items()]
    named_file.write(path, sizes, named.__getitem__, tensors.metadata("weights", described))


def load(path: str | os.PathLike | None = None) -> tuple[Weights, settings.Model, dict[str, Any]]:
    """Reads weights as float32, their model's sizes and the facts; None: the bundled ones.

    Raises:
        UserError: the file is missing, damaged, foreign, does not fit its own sizes, or holds
            only a part of a model's networks.
    """
    path = bundled_path() if path is None else Path(path)
    arrays, details = tensors.read_tensors(path, "weights")
    if details.get("network", WHOLE) != WHOLE:
        raise UserError(
            f"{path} holds the network {details['network']} alone; expected the weights of all "
            "networks: convert the few-shot or the one-shot snapshot."
        )
    try:
        model = settings.from_dict(details["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} describes a model that this version cannot build ({error}): "
            "use the version that wrote it, or train again"
        ) from error
    if path == bundled_path():  # it fits, tests see to that; tracing the networks takes a second
        return _complete(_tree(arrays)), model, details["facts"]
    template = networks.shapes(model)
    expected = {name: leaf.shape for name, leaf in _names(template).items()}
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else "none"
        if found != shape:
            raise UserError(f"{path}: expected {name} of shape {shape}, found {found}")
    # one after the other: all of a large model's would exist twice
    ordered = [jax.device_put(np.asarray(arrays.pop(name), np.float32)) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(template), ordered), model, details["facts"]


def _tree(arrays: Mapping[str, np.ndarray]) -> Weights:
    """Arrays by their names as weights, in float32."""
    weights: Weights = {"params": {}, "buffers": {}}
    for name, array in arrays.items():
        *above, leaf = name.split(".")
        tree = weights
        for key in above:
            tree = tree.setdefault(key, {})
        whole = array.dtype.kind in "iub"  # of a mesh
        tree[leaf] = array if whole else np.asarray(array, np.float32)
    return weights


def _complete(weights: Weights) -> Weights:
    """Gives networks without buffers an empty entry there, as `networks.init` does."""
    params, buffers = weights["params"], weights["buffers"]
    for group in ("generator", "unet_encoder"):
        for name in params[group]:
            buffers.setdefault(group, {}).setdefault(name, {})
    return weights


def load_network(path: str | os.PathLike) -> tuple[Weights, dict[str, Any]]:
    """Reads the weights of one network, or of all, as float32, and what the file says of them.

    The caller's network decides whether they fit; `details["network"]` says which they are.

    Raises:
        UserError: the file is missing, damaged or foreign.
    """
    arrays, details = tensors.read_tensors(path, "weights")
    return _tree(arrays), details
