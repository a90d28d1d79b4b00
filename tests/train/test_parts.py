"""Weights that were given, with what a model needs besides."""

import jax
import numpy as np

from invertavatar_jax import networks, settings
from invertavatar_jax.train.stages import parts

MODEL = settings.preset("tiny")


def _given():
    """Weights of the model, and of a discriminator."""
    weights = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), networks.shapes(MODEL))
    return {**weights, "params": {**weights["params"], "discriminator": {"bias": np.zeros(3)}}}


def test_what_is_given_beyond_a_model_s_weights_stays():
    found = parts.complete(MODEL, jax.random.key(0), _given())
    assert "discriminator" in found["params"]


def test_exactly_a_model_s_weights_are_kept():
    found = parts.complete(MODEL, jax.random.key(0), _given(), exact=True)
    assert jax.tree.structure(found) == jax.tree.structure(networks.shapes(MODEL))
