"""InvertAvatar in JAX: photos or a video in, an animatable 3D head avatar out.

import invertavatar_jax as ia; see avatar.py, which is the method on one page.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_HOMES = {"load": "avatar", "Avatar": "avatar", "Model": "avatar", "observations": "avatar"}


def __getattr__(name: str) -> Any:
    """Imports public names on first use, so that `--help` does not wait for JAX."""
    if name == "fit":  # the stage; calling it tracks a clip
        return importlib.import_module("invertavatar_jax.fit")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"invertavatar_jax.{_HOMES[name]}"), name)
