"""The stage of E_latent at the smallest size."""

import jax
import numpy as np
import pytest

from configs.latent import get_config
from invertavatar_jax.train import mesh, state, step
from invertavatar_jax.train.config import parse
from invertavatar_jax.train.stages import latent
from invertavatar_jax.train.stages.batching import Batching
from tests.train import batches

RULES = ((r".*", ()),)


@pytest.fixture(scope="module")
def trained():
    """The stage, its state before and after one iteration, and the metrics."""
    own = parse(get_config("tiny")).settings
    stage = latent.make(batches.MODEL, own, Batching(4, 2))
    begin = state.make_state(stage, 2, jax.random.key(0))
    placing = step.Placing(mesh.make_mesh(1, 1), 2, False, RULES)
    after, metrics = jax.device_put(jax.device_get(begin)), {}
    for phase in stage.phases(None):
        run = step.make_step(phase, stage.groups[phase.group], placing, after)
        after, found = run(after, batches.draw(4), jax.random.key(1))
        metrics |= found
    return stage, begin, after, metrics


def test_an_iteration_moves_the_encoder_and_the_discriminator(trained):
    _, before, after, metrics = trained
    for group in ("encoder", "latent_discriminator"):
        moved = jax.tree.map(
            lambda a, b: bool((a != b).any()), before.params[group], after.params[group]
        )
        assert np.mean(jax.tree.leaves(moved)) > 0.9, moved
    jax.tree.map(np.testing.assert_array_equal, before.buffers, after.buffers)
    assert all(np.isfinite(value) for value in metrics.values())
    names = {"w_discriminator", "w_delta", "l1", "lpips"}
    assert {f"Ireal/{name}" for name in names} <= set(metrics)
    more = {"raw_l1", "tri", "lr_lpips"}
    assert {f"Igen/{name}" for name in names | more} <= set(metrics)


def test_every_place_fills_its_own_pools(trained):
    after = trained[2].slots
    assert after.encoded.count.tolist() == after.drawn.count.tolist() == [2, 2]
    assert bool((after.encoded.codes[0, :2] != after.encoded.codes[1, :2]).all())


def test_what_is_shipped_begins_the_stage_again(trained):
    stage, _, after, _ = trained
    shipped = state.shipped(stage, after)
    again = stage.start(jax.random.key(5), shipped)
    jax.tree.map(np.testing.assert_array_equal, after.params, again.params)
    jax.tree.map(np.testing.assert_array_equal, after.buffers, again.buffers)
