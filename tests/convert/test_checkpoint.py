"""Files that look like a released network and are not: a report, or one sentence."""

import numpy as np
import pytest

from invertavatar_jax.convert import checkpoint, released
from invertavatar_jax.errors import UserError
from tests.convert import pickles

# Kinds whose templates are made from what a file says of its sizes.
SIZED = ("discriminator", "lpips_heads", "lpips_classifier", "latent_discriminator")
ODD = {
    "discriminator": ({}, {"b999.fromrgb.weight": ()}, {"b64.fromrgb.weight": (2, 900, 1, 1)}),
    "lpips_heads": ({}, {"lin1.model.1.weight": ()}),
    "lpips_classifier": ({}, {"features.0.weight": (3,)}),
    "latent_discriminator": ({},),
}


@pytest.mark.parametrize("name", SIZED)
def test_odd_sizes_are_reported_and_not_converted(tmp_path, name):
    kind = next(kind for kind in released.KINDS if kind.name == name)
    for i, more in enumerate(ODD[name]):
        shapes = {f"{mark}odd": (1,) for mark in kind.marks} | more
        arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        path = tmp_path / f"{i}.pth"
        path.write_bytes(pickles.legacy_state_dict(arrays))
        source = checkpoint.open_source(path)
        assert source.kind is not None and source.kind.name == name
        assert checkpoint.report(source)["fits"] is False
        with pytest.raises(UserError, match="arrays are missing"):
            checkpoint.convert(source, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


def test_a_file_without_arrays_is_told(tmp_path):
    path = tmp_path / "empty.pkl"
    path.write_bytes(pickles.dumps({"training_set_kwargs": {"resolution": 512}}))
    with pytest.raises(UserError, match="holds no arrays"):
        checkpoint.open_source(path)


def test_the_averaged_generator_is_taken_first_and_others_on_demand(tmp_path):
    path = tmp_path / "snapshot.pth"
    value = {}
    for i, key in enumerate(("D", "G", "G_ema")):
        value[key] = {"x": pickles.nested(np.full(2, i, np.float32), parameter=False)}
    path.write_bytes(pickles.dumps(value))
    taken = checkpoint.open_source(path)
    assert taken.network.key == "G_ema" and taken.others == ["D", "G"]
    asked = checkpoint.open_source(path, "D")
    assert asked.network.arrays["x"].array().tolist() == [0, 0]


def test_the_state_dict_beside_other_arrays_is_found(tmp_path):
    """As in files of TriPlaneNet: a state dict, a mean code, and options."""
    made = lambda *shape: pickles.nested(np.zeros(shape, np.float32), parameter=False)
    value = {"state_dict": {"a.weight": made(2, 2), "a.bias": made(2)}, "latent_avg": made(1, 4)}
    value["opts"] = {"lr": 0.1, "path": "x"}
    path = tmp_path / "triplanenet.pth"
    path.write_bytes(pickles.dumps(value))
    source = checkpoint.open_source(path)
    assert source.network.key == "state_dict" and source.others == [""]
    told = checkpoint.inspect(path)
    assert told["other values"] == {"opts": {"lr": 0.1, "path": "x"}}
