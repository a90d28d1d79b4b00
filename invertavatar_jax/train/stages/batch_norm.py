"""Batch normalisation while training: what it normalises with, and the statistics it moves."""

from collections.abc import Callable
from typing import Any, TypeVar

from invertavatar_jax import networks
from invertavatar_jax.networks import Networks
from invertavatar_jax.pure import Pure
from invertavatar_jax.settings import Model

# stored: with running statistics, which stay as they are; batch: with those of the microbatch,
# which move the running ones
MODES = ("stored", "batch")
_PATHS = {
    "latent": ("encoder",),
    "texture_unet": ("unet_encoder", "texture_unet"),
    "triplane_unet": ("unet_encoder", "triplane_unet"),
}
T = TypeVar("T")


def build(model: Model, mode: str) -> Networks:
    """The networks of a model, normalising as a mode of MODES says.

    Raises:
        ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"batch_norm: got {mode!r}, expected one of {', '.join(MODES)}")
    return networks.build(model, batch_statistics=mode == "batch")


def watch(nets: Networks, use: Callable[[Networks], T]) -> tuple[T, dict[str, Any]]:
    """What `use` makes of the networks, and the encoders' buffers after it.

    Buffers are by path, as parts.split has them under `statistics`; those of networks that it
    did not apply are left out. It must not apply them inside a loop.
    """
    found: dict[tuple[str, ...], Any] = {}

    def watched(name: str) -> Pure:
        network: Pure = getattr(nets, name)

        def apply(weights, *inputs):
            result, moved = network.apply(weights, *inputs, mutable=["buffers"])
            found[_PATHS[name]] = moved["buffers"]
            return result

        return Pure(network.init, apply)

    result = use(nets._replace(**{name: watched(name) for name in _PATHS}))
    return result, found


def moved(statistics: dict[str, Any], found: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """The statistics with what `watch` found in its places."""
    for (name, *below), tree in found.items():
        for inner in reversed(below):
            tree = {**statistics[name], inner: tree}
        statistics = {**statistics, name: tree}
    return statistics
