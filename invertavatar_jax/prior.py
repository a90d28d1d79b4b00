"""The generator that a configuration names: this method's or Next3D, behind one interface.

This is the only place that tells them apart. Weights, feature maps and drives are passed
through as they are: a caller that hands on what it got works with either.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import generator, networks, next3d
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model, Next3D


class Prior(NamedTuple):
    """A generator's functions; w_plus is [b, w_count, w_dim].

    Attributes:
        init: key -> weights.
        map: weights, z, label, truncation=, cutoff= -> w_plus.
        features: weights, w_plus -> maps, which the driven mesh does not change.
        render: weights, w_plus, maps, drive, key= -> generator.Rendered.
    """

    w_count: int
    init: Callable[[jax.Array], Weights]
    map: Callable[..., Float[Array, "b l d"]]
    features: Callable[..., Any]
    render: Callable[..., generator.Rendered]


def build(sizes: Model | Next3D) -> Prior:
    """The generator of these sizes; see settings.prior for their names."""
    if isinstance(sizes, Next3D):
        module, nets, w_count, init = next3d, next3d.build(sizes), sizes.w_count, next3d.init
    else:
        module, nets, w_count = generator, networks.build(sizes), sizes.backbone.w_count
        init = networks.init_generator

    def map_label(weights, z, label, **options):
        mapping = part(part(weights, "backbone"), "mapping")
        return nets.mapping.apply(mapping, z, label, **options)

    def render(weights, w_plus, maps, drive, **options):
        return module.render(nets, weights, sizes, w_plus, maps, drive, **options)

    return Prior(
        w_count=w_count,
        init=functools.partial(init, sizes),
        map=map_label,
        features=functools.partial(module.features, nets),
        render=render,
    )


def parameter_counts(prior: Prior) -> dict[str, int]:
    """Trained parameters per network, unused ones included, and their sum as `generator`."""
    params = jax.eval_shape(prior.init, jax.random.key(0))["params"]
    count = lambda tree: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
    counts = {name: count(tree) for name, tree in params.items()}
    return counts | {"generator": sum(counts.values())}
