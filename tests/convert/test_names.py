"""Our weights under released names, and back."""

import jax
import numpy as np
import pytest

from invertavatar_jax import networks, settings, weights
from invertavatar_jax.convert import config, contents, names
from invertavatar_jax.errors import UserError
from tests.cli.conftest import make_weights


@pytest.fixture(scope="module")
def tiny():
    model = settings.preset("tiny")
    return model, make_weights(model, 0), networks.shapes(model)


def same(got, expected) -> bool:
    """Equal places and equal bits; networks without a collection may have an empty one."""
    found, wanted = (dict(jax.tree_util.tree_flatten_with_path(x)[0]) for x in (got, expected))
    return set(found) == set(wanted) and all(
        found[place].tobytes() == wanted[place].tobytes() for place in wanted
    )


def test_export_and_import_give_back_every_bit(tiny):
    _, made, shapes = tiny
    named = names.export_weights(made)
    assert same(names.import_weights(shapes, named), made)


def test_exported_shapes_are_those_that_a_released_file_must_have(tiny):
    _, made, shapes = tiny
    named = {name: array.shape for name, array in names.export_weights(made).items()}
    assert named == {name: shape for name, (shape, _) in names.released_shapes(shapes).items()}


def test_names_of_lists_are_restored():
    for name in ("encoder.body.0.res_layer.1.weight", "lin.0.1.weight", "b4.conv1.bias", "a.10.b"):
        assert names.name_of(names.path_of(name)) == name


def test_exact_weights_keep_every_bit_and_rounded_ones_do_not(tiny, tmp_path):
    model, made, _ = tiny
    weights.save_exact(tmp_path / "exact.safetensors", made, model, {"facts": {"steps": 3}})
    got, found, facts = weights.load(tmp_path / "exact.safetensors")
    assert same(got, made) and found == model and facts == {"steps": 3}
    weights.save(tmp_path / "rounded.safetensors", made, model, {})
    assert not same(weights.load(tmp_path / "rounded.safetensors")[0], made)


def test_one_network_is_not_taken_for_all(tiny, tmp_path):
    model, made, _ = tiny
    path = tmp_path / "part.safetensors"
    part = {collection: trees["generator"] for collection, trees in made.items()}
    weights.save_exact(path, part, model, {}, "generator")
    got, details = weights.load_network(path)
    assert same(got, part) and details["network"] == "generator"
    with pytest.raises(UserError, match="holds the network generator alone"):
        weights.load(path)


def network(arguments: dict, attributes: dict | None = None) -> contents.Network:
    return contents.Network("G", "x", {}, {}, arguments, attributes or {})


RENDERING = {"depth_resolution": 24, "depth_resolution_importance": 12, "box_warp": 2}


def test_sizes_come_from_the_constructor_of_the_generator():
    kwargs = {"z_dim": 64, "channel_base": 1024, "mapping_kwargs": {"num_layers": 3}}
    kwargs |= {"img_resolution": 256, "rendering_kwargs": RENDERING}
    stored = network(
        {"generator": {"args": [], "kwargs": kwargs}},
        {"generator": {"neural_rendering_resolution": 64}},
    )
    read = config.read(stored, settings.preset("paper"))
    assert read.model.z_dim == 64 and read.model.mapping_layers == 3
    assert read.model.backbone == settings.Backbone(256, 1024, 512)
    renderer = read.model.renderer
    assert (renderer.coarse_samples, renderer.fine_samples, renderer.box_warp) == (24, 12, 2.0)
    assert (renderer.image_resolution, renderer.neural_resolution) == (256, 64)
    assert read.differs == []


def test_positional_arguments_are_read_too():
    stored = network({"": {"args": [32, 25, 48], "kwargs": {"rendering_kwargs": RENDERING}}})
    model = config.read(stored, settings.preset("paper")).model
    assert (model.z_dim, model.c_dim, model.w_dim) == (32, 25, 48)


def test_options_that_the_networks_here_lack_are_told():
    rendering = RENDERING | {"clamp_mode": "relu", "superresolution_module": "a.b.Other"}
    stored = network({"": {"args": [], "kwargs": {"rendering_kwargs": rendering}}})
    differs = config.read(stored, settings.preset("paper")).differs
    assert len(differs) == 2 and "clamp_mode is 'relu'" in differs[0]


EG3D = [np.eye(3)[list(rows)].tolist() for rows in ((0, 1, 2), (0, 2, 1), (2, 0, 1))]
FIXED = [*EG3D[:2], np.eye(3)[[2, 1, 0]].tolist()]


@pytest.mark.parametrize(
    ("axes", "planes"), [(EG3D, ("xy", "xz", "zx")), (FIXED, ("xy", "xz", "zy"))]
)
def test_the_planes_of_next3d_come_from_the_stored_axes(axes, planes):
    arguments = {"": {"args": [], "kwargs": {"rendering_kwargs": RENDERING}}}
    stored = network(arguments, {"renderer": {"plane_axes": axes}})
    model = config.read(stored, settings.PRIORS["next3d"]).model
    assert isinstance(model, settings.Next3D) and model.planes == planes
    differs = config.read(stored, settings.preset("paper")).differs
    assert bool(differs) == (axes is FIXED)
