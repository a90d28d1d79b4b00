"""Weights that were given, with what a model needs besides."""

import dataclasses

import jax
import numpy as np

from invertavatar_jax import networks, settings
from invertavatar_jax.cli.train import read_config
from invertavatar_jax.train.config import stage_module
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


def test_what_is_not_trained_is_shipped_as_it_was_and_what_is_redrawn_is_new():
    training = read_config("configs/supervised.py:tiny")
    own = dataclasses.replace(training.settings, trained="unet_encoder/", redrawn=".*/conv_gru/")
    stage = stage_module("supervised").make(MODEL, own, training.batching)
    given = _given()
    begin = stage.start(jax.random.key(0), given)
    moved = jax.tree.map(lambda x: x + 1, begin.params)
    shipped = stage.ship(moved, moved, begin.buffers)["params"]
    assert begin.params["all"].keys() == {"unet_encoder"}
    for path, leaf in jax.tree_util.tree_flatten_with_path(shipped)[0]:
        names = [entry.key for entry in path]
        if "conv_gru" in names and names[-1] == "weight":
            assert np.std(leaf) > 1e-3, names
        elif "conv_gru" not in names:
            assert (np.asarray(leaf) == ("unet_encoder" in names)).all(), names
