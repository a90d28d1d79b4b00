"""The one seam between Flax modules and the pure functions that the rest is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

Weights = dict[str, Any]  # {"params": trained, "buffers": constants and running statistics}


class Pure(NamedTuple):
    """A network as two pure functions."""

    init: Callable[..., Weights]  # key, *inputs -> weights
    apply: Callable[..., Any]  # weights, *inputs -> outputs


def pure(module: nn.Module) -> Pure:
    """Splits a module into functions; `weights` holds the collections params and buffers."""

    def init(key, *inputs, **options) -> Weights:
        weights = module.init(key, *inputs, **options)
        return {"params": weights.get("params", {}), "buffers": weights.get("buffers", {})}

    return Pure(init, module.apply)


def part(weights: Weights, name: str) -> Weights:
    """The weights of the submodule called `name`."""
    return {collection: tree.get(name, {}) for collection, tree in weights.items()}
