"""Configurations are checked whole."""

import pytest

from configs.supervised import get_config
from invertavatar_jax.train import config


@pytest.mark.parametrize("variant", ["small", "tiny"])
def test_every_variant_parses(variant):
    assert config.parse(get_config(variant)).stage == "supervised"


def test_a_missing_key_is_named():
    values = get_config("tiny")
    del values.settings.rate
    with pytest.raises(ValueError, match="rate"):
        config.parse(values)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="huge"):
        get_config("huge")


def test_unknown_products_are_refused():
    values = get_config("tiny")
    values.products = "int8"
    with pytest.raises(ValueError, match="products: got 'int8', expected one of float32, tensor"):
        config.parse(values)
