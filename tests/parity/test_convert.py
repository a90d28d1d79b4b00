"""The released pickles' format, and conversion of snapshots, against golden data.

The inversions, and the command line at the released size, run for minutes:
`./check --slow tests/parity/test_convert.py`. They write up to 7 GB to pytest's temporary folder
and need 8 GB of memory.
"""

import json
import pathlib
from typing import NamedTuple

import av
import numpy as np
import pytest

from invertavatar_jax import networks, settings, weights
from invertavatar_jax.cli import main as command_line
from invertavatar_jax.convert import checkpoint, contents, names, reader, released
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import part
from tests.cli.test_released_data import write_data
from tests.convert import pickles, snapshots
from tests.parity import golden, test_end_to_end
from tests.parity.golden import Case


def _table(file: str = "CHECKPOINT.json") -> dict:
    """Released names, shapes, types and roles, by network."""
    if golden.FOLDER is None:
        pytest.skip(golden.REASON)
    return json.loads((pathlib.Path(golden.FOLDER).parent / file).read_text())


def _entry(prefix: str) -> list[tuple[str, list[int], str, str]]:
    for file in ("CHECKPOINT.json", "CHECKPOINT_NEXT3D.json"):
        for key, value in _table(file).items():
            if key.startswith(prefix):
                return value["state_dict"]
    raise KeyError(prefix)


def test_a_snapshot_of_the_released_code_is_read_bit_for_bit():
    if golden.FOLDER is None:
        pytest.skip(golden.REASON)
    folder = pathlib.Path(golden.FOLDER)
    expected = np.load(folder / "pickle_sample_expected.npz")
    found = contents.networks(reader.read(folder / "pickle_sample.pkl"))
    arrays = {f"{key}.{n}": t for key, net in found.items() for n, t in net.arrays.items()}
    assert list(arrays) == expected.files
    for name in expected.files:
        got = arrays[name].array()
        assert got.dtype == expected[name].dtype and got.shape == expected[name].shape
        assert got.tobytes() == expected[name].tobytes(), name
    assert found["G_ema"].arguments[""] == {"args": [16, 4, 16, 3], "kwargs": {"num_layers": 2}}
    assert found["D"].arguments["affine"]["kwargs"] == {"bias_init": 1}
    assert found["G"].kind == "encoder_inversion.models.unet_encoders.recurrent_Up"
    assert found["D"].kind == "SynthesisLayer"


EXPECTED = [  # network's name in CHECKPOINT.json, what it is here
    ("ani3dgan512:G_ema", "generator"),
    ("FSInvertAvatar:G", "avatar"),
    ("updatedOSInvertAvatar:G", "avatar"),
    ("stage-1 e4e snapshot:G", "latent"),
    ("D (DualDiscriminator, img_channels=6", "discriminator"),
    ("D (DualDiscriminator, img_channels=9", "discriminator"),
    ("WD", "latent_discriminator"),
    ("next3d_ffhq_512:G_ema", "next3d"),
    ("model_ir_se50.pth", "identity"),
]


@pytest.mark.parametrize(("prefix", "kind"), EXPECTED)
def test_our_networks_have_the_released_names_shapes_and_roles(prefix, kind):
    rows = _entry(prefix)
    shapes = {name: tuple(shape) for name, shape, _, _ in rows}
    found = released.kind_of(shapes)
    assert found is not None and found.name == kind
    table = names.released_shapes(found.template(found.preset, shapes))
    kept = [row for row in rows if not (names.UNUSED.search(row[0]) or row[0] in found.mesh)]
    assert {(name, tuple(shape), role == "param") for name, shape, _, role in kept} == {
        (name, shape, trained) for name, (shape, trained) in table.items()
    }
    for name in shapes:
        assert names.name_of(names.path_of(name)) == name


def test_the_static_generator_of_eg3d_has_its_own_place():
    """EG3D's names are those of three parts of the animatable generator."""
    parts = ("backbone.", "superresolution.", "decoder.")
    rows = [row for row in _entry("ani3dgan512:G_ema") if row[0].startswith(parts)]
    shapes = {name: tuple(shape) for name, shape, _, _ in rows}
    found = released.kind_of(shapes)
    assert found is not None and found.name == "eg3d"
    table = names.released_shapes(found.template(found.preset, shapes))
    assert {name: shape for name, (shape, _) in table.items()} == {
        name: shape for name, shape in shapes.items() if not names.UNUSED.search(name)
    }


def test_a_damaged_snapshot_of_the_released_code_is_read_or_refused(tmp_path):
    if golden.FOLDER is None:
        pytest.skip(golden.REASON)
    data = (pathlib.Path(golden.FOLDER) / "pickle_sample.pkl").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for i in range(200):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 1 + i % 4):
            changed[place] ^= 1 << rng.integers(8)
        path = tmp_path / "file.pkl"
        path.write_bytes(changed[: rng.integers(1, len(data))] if i % 5 == 0 else changed)
        try:
            for network in contents.networks(reader.read(path)).values():
                assert all(t.array().shape == t.shape for t in network.arrays.values())
            outcomes["read"] += 1
        except UserError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def _rules(case: Case) -> dict[str, str]:
    return {name: rule for name, _, _, rule in case.meta["params"]}


_KEPT = {
    "resample_filter": np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64,
    "black_uv_bg": np.full((1, 3, 256, 256), -1, np.float32),
    "num_batches_tracked": np.zeros((), np.int64),
}


def _rows(case: Case, prefix: str) -> list[snapshots.Row]:
    """The rows of CHECKPOINT.json with the case's weights, drawn when they are written."""

    def draw(name: str, shape: list[int], rule: str):
        if rule == "keep":
            return lambda: _KEPT[name.rsplit(".", 1)[-1]]
        return lambda: golden._weight(name, shape, rule, case.salt)

    rules = _rules(case)
    return [
        (name, role == "param", draw(name, shape, rules[name]))
        for name, shape, _, role in _entry(prefix)
    ]


# The planes that the released renderer samples, as EG3D writes them. SPEC section 6
AXES = np.stack([np.eye(3, dtype=np.float32)[rows] for rows in ([0, 1, 2], [0, 2, 1], [2, 0, 1])])


class Released(NamedTuple):
    """A released snapshot that a test writes, and what it is here."""

    case: str  # whose rules draw the weights
    entry: str  # of CHECKPOINT.json
    key: str  # under which the snapshot holds it
    root: pickles.Name | str  # its class; text is a persistent one
    owner: str  # module's name of the generator in it
    preset: str
    network: str


_UVNET = "encoder_inversion.models.uvnet"
RELEASED = {
    "generator": Released(
        "gan_full", "ani3dgan512:G_ema", "G_ema", "TriPlaneGenerator", "", "paper", "generator"
    ),
    "few_shot": Released(
        "fs_inversion_eval",
        "FSInvertAvatar:G",
        "G",
        pickles.Name(_UVNET, "inversionNet"),
        "generator",
        "paper",
        weights.WHOLE,
    ),
    "one_shot": Released(
        "os_inversion",
        "updatedOSInvertAvatar:G",
        "G",
        pickles.Name(f"{_UVNET}_new", "inversionNet"),
        "generator",
        "paper_oneshot",
        weights.WHOLE,
    ),
}


def _write(path: pathlib.Path, case: Case, kind: Released) -> None:
    """A released snapshot with the case's weights."""
    arguments = _table()["_meta"]["config"]["generator"]
    classes = snapshots.classes(kind.root, arguments)
    inner = f"{kind.owner}.renderer".removeprefix(".")
    more = {
        kind.owner: {"neural_rendering_resolution": 128},
        inner: {"plane_axes": pickles.nested(AXES, parameter=False)},
    }
    network = snapshots.build(_rows(case, kind.entry), classes, more)
    value = {"training_set_kwargs": {"resolution": 512}, kind.key: network}
    with path.open("wb") as out:
        snapshots.write_snapshot(out, value)


def _convert(path: pathlib.Path, out: pathlib.Path, kind: Released):
    """Converts, checks the report, and loads what was written."""
    source = checkpoint.open_source(path)
    told = checkpoint.report(source)
    assert told["fits"] is True and told["missing"] == told["unexpected"] == "none"
    described = checkpoint.describe(source)
    assert described["differs"] == []
    assert described["plane_axes"] == AXES.tolist()
    checkpoint.convert(source, out)
    if kind.network == weights.WHOLE:
        loaded, model, _ = weights.load(out)
    else:
        loaded, details = weights.load_network(out)
        assert details["network"] == kind.network
        model = settings.from_dict(details["model"])
    assert model == settings.preset(kind.preset)
    return loaded


def _check_equal(got, template, named) -> None:
    """Equality bit for bit, array by array, so that not all are drawn at once."""
    for name in names.released_shapes(template):
        path = names.path_of(name)
        collection = "params" if _has(got["params"], path) else "buffers"
        leaf = got[collection]
        for key in path:
            leaf = leaf[key]
        drawn = names.to_ours(named(name), path[-1])
        assert np.ascontiguousarray(leaf).tobytes() == np.ascontiguousarray(drawn).tobytes(), name


def _has(tree, path) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _converted(name: str, folder: pathlib.Path):
    """A case's weights by way of a snapshot and its conversion, equal bit for bit."""
    kind = RELEASED[name]
    case = Case(kind.case)
    _write(folder / "snapshot.pkl", case, kind)
    loaded = _convert(folder / "snapshot.pkl", folder / "w.safetensors", kind)
    for path in folder.iterdir():  # up to 7 GB
        path.unlink()
    rules = _rules(case)
    shapes = {name: shape for name, shape, _, _ in case.meta["params"]}
    template = networks.shapes(settings.preset(kind.preset))
    template = template if kind.network == weights.WHOLE else part(template, kind.network)
    draw = lambda name: golden._weight(name, shapes[name], rules[name], case.salt)
    _check_equal(loaded, template, draw)
    return loaded


def test_a_converted_generator_holds_the_released_weights_bit_for_bit(tmp_path):
    assert set(_converted("generator", tmp_path)["params"]) == {
        *("texture_backbone", "face_backbone", "backbone", "superresolution", "decoder")
    }


@pytest.mark.slow
def test_a_converted_few_shot_snapshot_inverts_as_the_released_one(tmp_path, monkeypatch):
    loaded = _converted("few_shot", tmp_path)
    monkeypatch.setattr(test_end_to_end, "_weights", lambda *_: test_end_to_end._on_device(loaded))
    test_end_to_end.test_few_shot_inversion_equals_the_released_one()


@pytest.mark.slow
def test_a_converted_one_shot_snapshot_inverts_as_the_released_one(tmp_path, monkeypatch):
    loaded = _converted("one_shot", tmp_path)

    def take(case: Case, model: settings.Model, subtree: str):
        return test_end_to_end._on_device(part(loaded, subtree))

    monkeypatch.setattr(test_end_to_end, "_weights", take)
    test_end_to_end.test_one_shot_inversion_equals_the_released_one()


@pytest.mark.slow
def test_a_converted_snapshot_makes_and_moves_an_avatar_of_released_data(tmp_path):
    """As a user does it who has a snapshot and data in the released layout."""
    kind = RELEASED["few_shot"]
    _write(tmp_path / "snapshot.pkl", Case(kind.case), kind)
    write_data(tmp_path / "source", "ann", 2, seed=0)
    write_data(tmp_path / "driver", "bob", 2, seed=1)
    run = lambda *argv: command_line.main([*map(str, argv), "--device", "cpu"])
    converted, avatar = tmp_path / "w.safetensors", tmp_path / "ann.avatar"
    assert run("convert", tmp_path / "snapshot.pkl", "--out", converted) == 0
    (tmp_path / "snapshot.pkl").unlink()
    ours = ["--weights", converted, "--out"]
    assert run("reconstruct", tmp_path / "source", *ours, avatar) == 0
    assert run("animate", avatar, "--drive", tmp_path / "driver", *ours, tmp_path / "v.mp4") == 0
    with av.open(str(tmp_path / "v.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 2 and shown[0].shape == (512, 1024, 3)
    converted.unlink()
