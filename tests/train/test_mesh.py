"""Rules say where the leaves of a state are."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

from invertavatar_jax.train import mesh

PARAMS = {"conv": {"kernel": jnp.zeros((3, 3, 8, 4)), "bias": jnp.zeros(4)}}


def _specs(rules, tree=PARAMS):
    placed = mesh.shardings(tree, rules, mesh.make_mesh(1, 1))
    return jax.tree.map(lambda sharding: sharding.spec, placed)


def test_a_leaf_that_no_rule_matches_is_an_error():
    with pytest.raises(ValueError, match="no rule matches conv/bias"):
        _specs(((r"kernel", ()),))


def test_the_first_rule_that_matches_wins_and_names_the_last_axes():
    specs = _specs(((r"kernel", ("model",)), (r".*", ())))
    assert specs["conv"] == {"kernel": P(None, None, None, "model"), "bias": P()}


def test_moments_are_where_their_parameters_are():
    state = optax.adam(1e-3).init(PARAMS)
    adam = _specs(((r"kernel", (None, "model")), (r".*", ())), state)[0]
    assert adam.mu["conv"]["kernel"] == adam.nu["conv"]["kernel"] == P(None, None, None, "model")
    assert adam.count == P()


def test_largest_spreads_the_longest_axis_that_can_be_divided():
    assert _specs(((r".*", "largest"),))["conv"]["kernel"] == P(None, None, "data")


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="expected a product of at most"):
        mesh.make_mesh(10_000, 1)
