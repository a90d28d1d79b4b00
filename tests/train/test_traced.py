"""Phases of the encoder stages on photos, traced: what compiling takes minutes is tested slowly."""

import importlib

import jax
import pytest

from invertavatar_jax.compile import abstract
from invertavatar_jax.train import config
from invertavatar_jax.train.program import Program

TERMS = {
    "latent": {
        "Ireal": {"w_discriminator", "w_delta", "l1", "gradients"},
        "Igen": {"w_discriminator", "w_delta", "l1", "gradients", "raw_l1", "tri", "lr_gradients"},
        "WDmain": {"real", "fake"},
        "WDreg": {"r1"},
    },
    "oneshot": {
        "Ireal_unets": {"l1", "gradients", "raw_l1", "lr_gradients", "adv"},
        "Igen_unets": {"l1", "gradients", "raw_l1", "lr_gradients", "tri", "texture", "adv"},
        "Dmain": {"real", "fake"},
        "Dreg": {"r1"},
    },
}


@pytest.mark.parametrize("stage", TERMS)
def test_every_phase_has_its_terms(stage):
    values = importlib.import_module(f"configs.{stage}").get_config("tiny")
    training = config.parse(values)
    program = Program(training)
    batch = abstract.training_batch(training, program.model)
    key = jax.eval_shape(jax.random.key, 0)
    variant, found = program.stage.variant(training.total_steps), {}
    for phase in program.stage.phases(variant):
        differentiate = program.step(phase, variant).differentiate
        sums, _ = jax.eval_shape(differentiate, program.shapes, batch, key)
        found[phase.name] = sums.metrics.keys() - {"loss"}
        moved, params = sums.gradient, program.shapes.params[phase.group]
        assert jax.tree.map(lambda x: x.shape, moved) == jax.tree.map(lambda x: x.shape, params)
    assert found == TERMS[stage]
