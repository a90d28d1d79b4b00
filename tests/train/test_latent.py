"""The stage of E_latent at the smallest size."""

import jax
import numpy as np
import pytest

from configs.latent import get_config
from invertavatar_jax.train import config, state
from tests.train import iteration

TERMS = {"w_discriminator", "w_delta", "l1", "gradients"}


@pytest.mark.parametrize("variant", ["paper", "released", "tiny"])
def test_every_variant_is_complete(variant):
    assert config.parse(get_config(variant)).stage == "latent"


@pytest.fixture(scope="module")
def trained():
    return iteration.run(get_config("tiny"), ("Ireal", "Igen", "WDmain", "WDreg"))


@pytest.mark.slow
def test_an_iteration_moves_the_encoder_and_the_discriminator(trained):
    assert trained.moved("encoder") > 0.9 and trained.moved("latent_discriminator") > 0.9
    jax.tree.map(np.testing.assert_array_equal, trained.before.buffers, trained.after.buffers)
    assert all(np.isfinite(value) for value in trained.metrics.values())
    assert {f"Ireal/{name}" for name in TERMS} <= set(trained.metrics)
    more = TERMS | {"raw_l1", "tri", "lr_gradients"}
    assert {f"Igen/{name}" for name in more} <= set(trained.metrics)


@pytest.mark.slow
def test_every_place_fills_its_own_pools(trained):
    slots = trained.after.slots
    assert slots.encoded.count.tolist() == slots.drawn.count.tolist() == [2, 2]
    assert bool((slots.encoded.codes[0, :2] != slots.encoded.codes[1, :2]).all())


@pytest.mark.slow
def test_what_is_shipped_begins_the_stage_again(trained):
    again = trained.stage.start(jax.random.key(5), state.shipped(trained.stage, trained.after))
    jax.tree.map(np.testing.assert_array_equal, trained.after.params, again.params)
    jax.tree.map(np.testing.assert_array_equal, trained.after.buffers, again.buffers)


@pytest.mark.slow
def test_statistics_of_the_batch_move_the_running_ones():
    values = get_config("tiny")
    values.settings.batch_norm = "batch"
    trained = iteration.run(values, ("Ireal",))
    old, new = (s.buffers["statistics"]["encoder"] for s in (trained.before, trained.after))
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), old, new))
    assert all(moved)
