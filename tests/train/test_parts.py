"""Weights that were given, with what a model needs besides."""

import dataclasses

import jax
import numpy as np
import pytest

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


def test_what_is_not_trained_is_shipped_as_it_was():
    training = read_config("configs/supervised.py:tiny")
    own = dataclasses.replace(training.settings, trained="unet_encoder/")
    stage = stage_module("supervised").make(MODEL, own, training.batching)
    begin = stage.start(jax.random.key(0), _given())
    moved = jax.tree.map(lambda x: x + 1, begin.params)
    shipped = stage.ship(moved, moved, begin.buffers)["params"]
    assert begin.params["all"].keys() == {"unet_encoder"}
    for path, leaf in jax.tree_util.tree_flatten_with_path(shipped)[0]:
        names = [entry.key for entry in path]
        assert (np.asarray(leaf) == ("unet_encoder" in names)).all(), names


def test_a_place_is_left_out_and_nothing_else():
    given = _given()
    left = parts.without(given, ".*/conv_gru/")
    paths = lambda tree: {
        "/".join(entry.key for entry in path)
        for path, _ in jax.tree_util.tree_flatten_with_path(tree["params"])[0]
    }
    gone = paths(given) - paths(left)
    assert gone == {path for path in paths(given) if "/conv_gru/" in path} != set()
    assert left["buffers"] is given["buffers"]


@pytest.mark.slow  # all networks are drawn
def test_what_is_redrawn_is_new():
    training = read_config("configs/supervised.py:tiny")
    own = dataclasses.replace(training.settings, redrawn=".*/conv_gru/")
    stage = stage_module("supervised").make(MODEL, own, training.batching)
    begin = stage.start(jax.random.key(0), _given())
    for path, leaf in jax.tree_util.tree_flatten_with_path(begin.params)[0]:
        names = [entry.key for entry in path]
        if names[-1] == "weight":
            assert (np.std(leaf) > 1e-3) == ("conv_gru" in names), names
