"""The stage of the one-shot U-Nets at the smallest size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.oneshot import get_config
from invertavatar_jax.pure import pure
from invertavatar_jax.settings import Backbone
from invertavatar_jax.supervise.discriminator import DualDiscriminator
from invertavatar_jax.train import config
from invertavatar_jax.train.stages import oneshot, refinement
from tests.encode.weights import draw
from tests.train import batches, iteration


@pytest.mark.parametrize("variant", ["paper", "released", "tiny"])
def test_every_variant_is_complete(variant):
    assert config.parse(get_config(variant)).stage == "oneshot"


def phases_due(values, steps, adversarial=True):
    own = config.parse(values)
    stage = oneshot.make(batches.MODEL, own.settings, own.batching)
    found = stage.phases(adversarial)
    return [[phase.name for phase in found if phase.due(step)] for step in range(steps)]


def test_released_unets_take_turns_on_photos_then_on_made_people():
    values = get_config("tiny")
    values.settings.alternate = True
    due = phases_due(values, 5)
    names = ["Ireal_triplane", "Ireal_texture", "Igen_triplane", "Igen_texture", "Ireal_triplane"]
    assert [row[0] for row in due] == names
    assert due[0][1:] == ["Dmain", "Dreg"] and due[1][1:] == ["Dmain"]


def test_before_it_begins_there_is_no_discriminator():
    assert phases_due(get_config("tiny"), 2, False) == [["Ireal_unets"], ["Igen_unets"]]


def test_a_discriminator_with_landmarks_goes_on_without_them():
    sizes = Backbone(8, 64, 8)
    image, raw, label = jnp.ones((1, 8, 8, 3)), jnp.full((1, 4, 4, 3), 0.5), jnp.ones((1, 25))
    network = pure(DualDiscriminator(sizes))
    weights = draw(network.init, image, raw, label, jnp.zeros((1, 4, 4, 3)), equalised=True)
    with_map = network.apply(weights, image, raw, label, jnp.zeros((1, 4, 4, 3))).logits
    without = {"params": refinement.without_landmarks(weights["params"]), "buffers": {}}
    np.testing.assert_allclose(
        network.apply(without, image, raw, label).logits, with_map, rtol=1e-4
    )


@pytest.mark.slow
def test_an_iteration_moves_the_unets_and_the_discriminator():
    trained = iteration.run(get_config("tiny"), ("Igen", "Dmain"))
    assert trained.moved("unets") > 0.9 and trained.moved("discriminator") > 0
    jax.tree.map(np.testing.assert_array_equal, trained.before.buffers, trained.after.buffers)
    assert all(np.isfinite(value) for value in trained.metrics.values())
    names = {"l1", "gradients", "raw_l1", "tri", "texture", "lr_gradients", "adv"}
    assert {f"Igen_unets/{name}" for name in names} <= set(trained.metrics)
