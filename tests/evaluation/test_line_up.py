"""Systems by name: whose weights they have, and what the others need."""

import jax
import numpy as np
import pytest

from experiments.evaluation.line_up import Workshop, draw_weights, line_up
from invertavatar_jax import settings, weights
from invertavatar_jax.errors import UserError


def test_systems_that_cannot_run_say_what_they_need():
    found = line_up(("conv_fusion", "rome", "our_prior"), Workshop("small"), None, {}, {})
    assert not found.systems
    for name, need in (("conv_fusion", "--baseline"), ("rome", "--outside"), ("our_prior", "gan")):
        assert need in found.not_run[name]


def test_a_system_is_left_out_by_its_name():
    names = ("textured_mesh", "our_pti")
    found = line_up(names, Workshop("tiny"), None, {}, {}, ["our_pti"])
    assert set(found.systems) == {"textured_mesh"} and "--without" in found.not_run["our_pti"]
    with pytest.raises(UserError, match="--without rome: expected one of textured_mesh, our_pti"):
        line_up(names, Workshop("tiny"), None, {}, {}, ["rome"])


def test_a_system_takes_weights_of_its_own(tmp_path):
    sizes, path = settings.preset("tiny"), str(tmp_path / "start.safetensors")
    weights.save(path, jax.tree.map(lambda x: 2 * x, draw_weights(sizes)), sizes, {})
    workshop = Workshop("tiny")
    found = line_up(("ours", "one_shot_averaged"), workshop, None, {"one_shot_averaged": path}, {})
    assert "random" in found.about["ours"] and "random" not in found.about["one_shot_averaged"]
    ours, own = workshop.model(None), workshop.model(path)
    assert workshop.bench(ours).prepared is workshop.bench(own).prepared
    largest = [max(float(np.abs(x).max()) for x in jax.tree.leaves(m.weights)) for m in (ours, own)]
    assert largest[1] > 1.9 * largest[0]
