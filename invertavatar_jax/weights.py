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
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.pure import Weights

BUNDLED = "assets/small.safetensors"


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


def load(path: str | os.PathLike | None = None) -> tuple[Weights, settings.Model, dict[str, Any]]:
    """Reads weights as float32, their model's sizes and the facts; None: the bundled ones.

    Raises:
        UserError: the file is missing, damaged, foreign, or does not fit its own sizes.
    """
    path = bundled_path() if path is None else path
    arrays, details = tensors.read_tensors(path, "weights")
    try:
        model = settings.from_dict(details["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} describes a model that this version cannot build ({error}): "
            "use the version that wrote it, or train again"
        ) from error
    template = networks.shapes(model)
    expected = {name: leaf.shape for name, leaf in _names(template).items()}
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else "none"
        if found != shape:
            raise UserError(f"{path}: expected {name} of shape {shape}, found {found}")
    ordered = [arrays[name].astype(np.float32) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(template), ordered), model, details["facts"]
