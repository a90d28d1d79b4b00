"""Avatars on disk: one safetensors file each, with who made it from what."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from invertavatar_jax.avatar import Avatar
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.generator import Colours, Features


def write_avatar(path: str | os.PathLike, avatar: Avatar, details: dict[str, Any]) -> None:
    """Writes an avatar.

    Args:
        details: JSON-able; at least `preset` and `weights_sha256` of the model that made it.

    Raises:
        UserError: no room on the disk, or a folder that cannot be written.
    """
    tensors.write_tensors(path, "avatar", dict(_named_leaves(avatar)), details)


def read_avatar(path: str | os.PathLike) -> tuple[Avatar, dict[str, Any]]:
    """Reads what `write_avatar` wrote.

    Raises:
        UserError: there is no such file, or it is not a whole avatar file.
    """
    arrays, details = tensors.read_tensors(path, "avatar")
    try:
        colours = None
        if "colours.texture" in arrays:
            colours = Colours(*(arrays[f"colours.{name}"] for name in Colours._fields))
        maps = Features(*(_listed(arrays, f"maps.{name}") for name in Features._fields))
        background = arrays.get("background")
        return Avatar(arrays["w_plus"], maps, colours, background, arrays["identity"]), details
    except KeyError as error:
        raise UserError(
            f"{path} is an avatar file without {error}; make it again with `./avatar reconstruct`."
        ) from error


def check_made_by(details: dict[str, Any], weights_sha256: str, path: str | os.PathLike) -> None:
    """Refuses an avatar of other networks: its feature maps mean nothing to these.

    Raises:
        UserError: the avatar was made with other weights.
    """
    made_by = details.get("weights_sha256")
    if made_by != weights_sha256:
        raise UserError(
            f"{path} was made with other weights ({str(made_by)[:12]}..., here "
            f"{weights_sha256[:12]}...); give those with --weights, or make the avatar again."
        )


def _named_leaves(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Arrays by dotted path; a None is left out."""
    if value is None:
        return
    children: Any = None
    if hasattr(value, "_asdict"):
        children = value._asdict().items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    if children is None:
        yield name, np.asarray(value)
        return
    for key, child in children:
        yield from _named_leaves(child, f"{name}.{key}" if name else str(key))


def _listed(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    found = [key for key in arrays if key.startswith(f"{name}.")]
    return [arrays[f"{name}.{index}"] for index in range(max(len(found), 1))]
