"""Weights are taken over by name, and what is not taken is told."""

import numpy as np

from invertavatar_jax.train.stages import inherit


def _backbone(torgb: int):
    return {
        "mapping": {"weight": np.full(3, 7.0, np.float32)},
        "synthesis": {
            "conv": np.full((2, 2), 8.0, np.float32),
            "torgb": np.full((2, torgb), 9.0, np.float32),
        },
    }


def _own():
    empty = lambda torgb: {
        "mapping": {"weight": np.zeros(3, np.float32)},
        "synthesis": {
            "conv": np.zeros((2, 2), np.float32),
            "torgb": np.zeros((2, torgb), np.float32),
        },
    }
    params = {name: empty(1) for name in ("texture_backbone", "face_backbone")}
    params |= {"backbone": empty(3), "decoder": {"weight": np.zeros(2, np.float32)}}
    return {"params": params, "buffers": {}}


def test_eg3d_s_backbone_goes_to_all_three_where_shapes_match():
    eg3d = {"params": {"backbone": _backbone(3), "extra": np.zeros(1, np.float32)}, "buffers": {}}
    found = inherit.inherit(_own(), inherit.generator_of(eg3d))
    params = found.weights["params"]
    for name in ("backbone", "texture_backbone", "face_backbone"):
        np.testing.assert_array_equal(params[name]["mapping"]["weight"], 7)
        np.testing.assert_array_equal(params[name]["synthesis"]["conv"], 8)
    np.testing.assert_array_equal(params["backbone"]["synthesis"]["torgb"], 9)
    np.testing.assert_array_equal(params["face_backbone"]["synthesis"]["torgb"], 0)
    assert set(found.skipped) == {
        "params/texture_backbone/synthesis/torgb: shape [2, 3], expected [2, 1]",
        "params/face_backbone/synthesis/torgb: shape [2, 3], expected [2, 1]",
        "params/extra: this model has no such array",
    }
    assert set(found.fresh) == {
        "params/texture_backbone/synthesis/torgb",
        "params/face_backbone/synthesis/torgb",
        "params/decoder/weight",
    }


def test_a_generator_keeps_its_own_backbones():
    ours = {"backbone": _backbone(3), "texture_backbone": _backbone(1)}
    ours["texture_backbone"]["mapping"] = {"weight": np.full(3, 5.0, np.float32)}
    whole = {
        "params": {"generator": ours, "encoder": {}},
        "buffers": {"latent_avg": np.zeros(3, np.float32)},
    }
    for offered in (whole, {"params": ours, "buffers": {}}):
        found = inherit.inherit(_own(), inherit.generator_of(offered))
        texture = found.weights["params"]["texture_backbone"]
        np.testing.assert_array_equal(texture["mapping"]["weight"], 5)
        np.testing.assert_array_equal(texture["synthesis"]["torgb"], 9)
        assert not found.skipped
