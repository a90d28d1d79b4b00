"""Avatars from data in the released layout, from the command line, without a head model."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from invertavatar_jax import avatar, settings, weights
from invertavatar_jax.cli import main as command_line
from invertavatar_jax.cli import prepared as verbs
from invertavatar_jax.cli.console import Console
from invertavatar_jax.data import prepared, released
from invertavatar_jax.export import avatars
from tests.cli.conftest import make_weights
from tests.fit.test_faceverse import POINTS, make_arrays, make_head

TINY = settings.preset("tiny")
SIZES = dataclasses.replace(  # as released, but for the sizes
    TINY,
    departures=settings.Departures(),
    raster_resolution=16,
    raster_window=prepared.WINDOW,
    renderer=dataclasses.replace(
        TINY.renderer,
        neural_resolution=8,
        proposal=False,
        box_warp=1.0,
        superresolution_fold=0,
    ),
)


def write_data(root, clip: str, count: int, seed: int) -> None:
    """A clip of a grey disc of a face that drifts; written from the layout's description."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256].astype(np.float32)
    coefficients = rng.normal(0, 0.3, 610).astype(np.float32)
    labels = []
    for i in range(count):
        name = f"{clip}/{i}"
        disc = (np.hypot(x - 128 - 4 * i, y - 128) < 90).astype(np.float32)
        u, v = (x / 128 - 1) * disc, (y / 128 - 1) * disc
        coefficients[150:321] = rng.normal(0, 0.2, 171)
        seen = np.stack([u, v, disc * (x < 200)], -1)
        texture = np.where(disc[..., None] > 0, rng.integers(0, 256, (256, 256, 3)), 255)
        photo = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
        mask = np.kron(disc, np.ones((2, 2))) * 255
        arrays = {
            released.RASTERS: np.stack([u, v, disc, disc], -1).astype(np.float16),
            released.COEFFICIENTS: coefficients,
            released.UVS: seen.astype(np.float16),
        }
        for folder, array in arrays.items():
            (root / folder / clip).mkdir(parents=True, exist_ok=True)
            np.save(root / folder / f"{name}.npy", array)
        pictures = {
            f"{released.UVS}/{name}_uvgttex.png": texture,
            f"{released.IMAGES}/{name}.png": photo,
            f"{released.HEADS}/{name}.png": np.repeat(mask[..., None], 3, -1),
        }
        for path, levels in pictures.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels.astype(np.uint8)).save(root / path)
        pose = np.diag([0.2166, -0.2166, -0.2166, 1.0])  # a rotation times a scale
        pose[0, 3], pose[2, 3] = 0.1 * i, 2.7
        lens = [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
        labels.append([f"{name}.png", [*pose.ravel().tolist(), *lens]])
    for name in released.LABELS:
        path = root / released.IMAGES / name
        before = json.loads(path.read_text())["labels"] if path.exists() else []
        path.write_text(json.dumps({"labels": [*before, *labels]}))


@pytest.fixture(scope="module")
def place(tmp_path_factory, person):
    """Two data sets of one clip each, and weights of a model that reads them.

    After `person`, whose compiled programs are shared through files.
    """
    folder = tmp_path_factory.mktemp("released_data")
    write_data(folder / "source", "ann", 3, seed=0)
    write_data(folder / "driver/dataset", "bob", 4, seed=1)
    weights.save(folder / "w.safetensors", make_weights(SIZES, 0), SIZES, {"steps": 0})
    return folder


def call(capsys, *argv) -> tuple[dict, str]:
    assert command_line.main([*map(str, argv), "--json", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def refuse(capsys, *argv) -> str:
    assert command_line.main([*map(str, argv), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def made(place):
    """The avatar that `reconstruct` makes of the source data set."""
    out = place / "ann.avatar"
    argv = ["reconstruct", place / "source", "--out", out, "--weights", place / "w.safetensors"]
    assert command_line.main([*map(str, argv), "--device", "cpu"]) == 0
    return out


def test_an_avatar_is_made_of_the_stored_maps(capsys, place, made):
    person, details = avatars.read_avatar(made)
    assert details["sources"] == ["ann/0.png", "ann/1.png", "ann/2.png"]
    coefficients = np.load(place / "source/coeffs/ann/0.npy")
    np.testing.assert_array_equal(person.identity, coefficients[:150])
    arrays, sizes, _ = weights.load(place / "w.safetensors")
    data = released.Released(place / "source")
    seen = [prepared.prepare(data[i], sizes) for i in range(3)]
    expected = avatar.Model(sizes, arrays).reconstruct(seen)
    for got, want in zip(person.maps.static, expected.maps.static, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(details["camera"], data.labels[0][1], rtol=1e-6)


def test_reconstruct_tells_scores_and_the_missing_mask(capsys, place, tmp_path):
    told, said = call(
        *(capsys, "reconstruct", place / "source" / released.IMAGES / "ann/1.png"),
        *("--out", tmp_path / "a.avatar", "--weights", place / "w.safetensors"),
    )
    assert told["frames"] == [0] and told["psnr_face"] is None
    assert 0 < told["psnr_head"] < 40 and 0 < told["l1"] < 1
    assert prepared.UV_MASK in said


def test_stored_frames_drive_an_avatar(capsys, place, made, tmp_path):
    told, said = call(
        *(capsys, "animate", made, "--drive", place / "driver"),
        *("--weights", place / "w.safetensors", "--out", tmp_path / "v.mp4"),
    )
    assert told["frames"] == 4 and "another person" in said
    with av.open(told["video"]) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 4 and shown[0].shape == (32, 64, 3)


def test_what_does_not_fit_is_told(capsys, place, made, person, tmp_path):
    out = ["--out", tmp_path / "a.avatar", "--weights"]
    small = [*out, person / "tiny.safetensors"]
    assert "read the head's depth" in refuse(capsys, "reconstruct", place / "source", *small)
    own = [*out, place / "w.safetensors"]
    two = shutil.copytree(place / "source", tmp_path / "two")
    write_data(two, "eve", 1, seed=2)
    assert "holds 2 clips (ann, eve)" in refuse(capsys, "reconstruct", two, *own)
    (two / "coeffs/eve/0.npy").unlink()
    said = refuse(capsys, "reconstruct", two / released.IMAGES / "eve", *own)
    assert "There is no file" in said and "coeffs/eve/0.npy" in said
    (tmp_path / "m.json").write_text(json.dumps({"frames": [{"jawOpen": 1}]}))
    drive = ["--drive", tmp_path / "m.json", "--weights", place / "w.safetensors"]
    said = refuse(capsys, "animate", made, *drive, "--out", tmp_path / "v.mp4")
    assert "150 numbers" in said and "--head" in said


def test_with_the_head_model_the_drivers_expression_is_drawn_on_the_avatars_face(place, made):
    """The stored rasters are not read then: they carry the driver's own shape."""
    arrays, sizes, _ = weights.load(place / "w.safetensors")
    head = make_head(make_arrays(), np.ones(POINTS))
    loaded = SimpleNamespace(model=avatar.Model(sizes, arrays, head))
    person, _ = avatars.read_avatar(made)
    data = verbs.Data(released.Released(place / "driver/dataset"), [2])
    (shown,) = verbs.film(loaded, person, data, Console(), [0])
    record = data.stored[2]
    other = person._replace(identity=person.identity + 1)
    (bent,) = verbs.film(loaded, other, data, Console(), [0])
    plain = SimpleNamespace(model=avatar.Model(sizes, arrays))
    (stored,) = verbs.film(plain, person, data, Console(), [0])
    assert record.image.shape == (512, 512, 3)
    assert (shown != stored).any() and (shown != bent).any()
