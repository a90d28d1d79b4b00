"""Chooses where JAX computes. The choice stands in the environment, before JAX is imported."""

import os

from invertavatar_jax.errors import UserError

CHOICES = ("auto", "cpu", "gpu", "tpu")
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def choose(name: str) -> None:
    """Sets JAX's platform; "auto" leaves the choice to JAX, which takes the fastest it finds."""
    if name != "auto":
        os.environ["JAX_PLATFORMS"] = _PLATFORMS[name]


def describe(name: str) -> str:
    """Starts JAX and names its devices, e.g. "cpu (2 cores)" or "gpu (NVIDIA H100 x 1)".

    Raises:
        UserError: there is no device of the chosen kind.
    """
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        raise UserError(
            f"--device {name}: JAX finds no such device here; use --device cpu, or install "
            "JAX for it (GPU: pip install 'jax[cuda12]')."
        ) from error
    kind = devices[0].platform
    if kind == "cpu":
        return f"cpu ({os.cpu_count()} cores)"
    return f"{kind} ({devices[0].device_kind} x {len(devices)})"
