"""Sizes survive a file, and wrong ones are named."""

import json

import pytest

from invertavatar_jax import networks, settings


@pytest.mark.parametrize("name", list(settings.PRESETS))
def test_a_preset_survives_json(name):
    model = settings.preset(name)
    assert settings.from_dict(json.loads(json.dumps(settings.to_dict(model)))) == model


def test_an_unknown_setting_is_named():
    values = settings.to_dict(settings.preset("tiny")) | {"colour": 1}
    with pytest.raises(ValueError, match="colour"):
        settings.from_dict(values)


def test_a_missing_setting_is_named():
    values = settings.to_dict(settings.preset("tiny"))
    del values["renderer"]["near"]
    with pytest.raises(ValueError, match="near"):
        settings.from_dict(values)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="huge"):
        settings.preset("huge")


def test_presets_with_other_aggregators_differ_in_that_alone():
    model = settings.preset("small_diagonal")
    assert model.texture_decoder.aggregator == model.triplane_decoder.aggregator == "diagonal"
    assert settings.with_aggregator(model, "conv_gru") == settings.preset("small")
    assert settings.from_dict(json.loads(json.dumps(settings.to_dict(model)))) == model


def test_an_unknown_aggregator_is_refused():
    model = settings.with_aggregator(settings.preset("tiny"), "lstm")
    with pytest.raises(ValueError, match="got aggregator 'lstm', expected one of conv_gru, "):
        networks.build(model)


def test_files_from_before_a_setting_existed_are_read():
    values = settings.to_dict(settings.preset("tiny"))
    del values["one_shot"], values["texture_decoder"]["vit_depths"]
    del values["triplane_decoder"]["aggregator"]
    assert settings.from_dict(values) == settings.preset("tiny")
