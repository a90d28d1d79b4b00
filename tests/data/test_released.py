"""The released layout: what is written is read back, and means the same."""

import json
import shutil

import numpy as np
import pytest

from invertavatar_jax import frames, settings
from invertavatar_jax.data import released
from invertavatar_jax.data.synthetic import scene
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.faceverse import SLICES


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("released")
    studio = scene.open_studio(size=64)
    clip = scene.sample_scene(np.random.default_rng([11, 0]), studio, 2)
    geometry = frames.geometry(studio.anatomy.head, settings.preset("paper"))
    released.write_clip(root, "person_000000", clip, geometry)
    released.write_labels(root)
    return root, clip


def test_records_have_the_released_sizes(data_set):
    root, _ = data_set
    record = released.Released(root)[1]
    assert record.name == "person_000000/00001"
    assert record.image.shape == (512, 512, 3) and record.image.dtype == np.uint8
    assert record.raster.shape == (256, 256, 4) and record.uv_xy_visible.shape == (256, 256, 3)
    assert record.uv_rgb.shape == (256, 256, 3)
    assert record.head_matte.shape == record.matte.shape == (512, 512)
    stored = np.load(root / released.RASTERS / "person_000000/00001.npy")
    assert stored.dtype == np.float16
    coefficients = np.load(root / released.COEFFICIENTS / "person_000000/00001.npy")
    assert coefficients.shape == (610,) and coefficients.dtype == np.float32


def test_labels_and_coefficients_are_the_clips(data_set):
    root, clip = data_set
    for number, record in enumerate(released.Released(root)):
        np.testing.assert_array_equal(record.camera, clip.camera[number])
        part = lambda name, record=record: record.coefficients[SLICES[name]]
        np.testing.assert_array_equal(part("identity")[:80], clip.identity)
        np.testing.assert_array_equal(part("expression")[:52], clip.expression[number])
        np.testing.assert_array_equal(part("eyes")[[1, 0, 3, 2]], clip.gaze_rad[number])
        assert part("scale") == 1.0


def test_visible_texels_hold_the_pictures_colours(data_set):
    root, _ = data_set
    record = released.Released(root)[0]
    visible = record.uv_xy_visible[..., 2] > 0.5
    assert visible.mean() > 0.1
    pixel = ((record.uv_xy_visible[visible][:, :2] + 1) / 2 * 512).astype(int).clip(0, 511)
    there = record.image[pixel[:, 1], pixel[:, 0]].astype(int)
    assert np.median(np.abs(record.uv_rgb[visible] - there)) <= 4
    assert (record.uv_rgb[~visible] == 255).all()


def test_the_raster_shows_a_face_with_coordinates_in_range(data_set):
    root, _ = data_set
    raster = released.Released(root)[0].raster
    mask = raster[..., 2] >= 0.5
    assert 0.2 < mask.mean() < 0.9
    assert np.abs(raster[..., :2]).max() <= 1
    assert (raster[~mask][:, 2] < 0.5).all()


def test_a_folder_without_labels_is_named(tmp_path):
    with pytest.raises(UserError, match=r"dataset_realcam\.json: expected"):
        released.Released(tmp_path)


def test_a_short_label_is_refused(data_set, tmp_path):
    folder = tmp_path / released.IMAGES
    folder.mkdir()
    (folder / "dataset_realcam.json").write_text(json.dumps({"labels": [["a/0.png", [1.0]]]}))
    with pytest.raises(UserError, match="1 numbers, expected 25"):
        released.Released(tmp_path)[0]


def copy(data_set, tmp_path):
    """The data set again, to be spoilt."""
    return shutil.copytree(data_set[0], tmp_path / "data")


DAMAGE = {
    "coeffs/{}.npy": "expected real numbers of shape \\(610,\\)",
    "uvRender256x256/{}.npy": "expected real numbers of shape \\(256, 256, 3\\)",
    "orthRender256x256_face_eye/{}.npy": "expected real numbers of shape \\(256, 256, 4\\)",
}


@pytest.mark.parametrize("path", DAMAGE)
def test_arrays_of_another_shape_are_refused(data_set, tmp_path, path):
    file = copy(data_set, tmp_path) / path.format("person_000000/00000")
    np.save(file, np.zeros((3, 5), np.float32))
    with pytest.raises(UserError, match=rf"{file.name} holds float32 of shape .*{DAMAGE[path]}"):
        released.Released(tmp_path / "data")[0]


FILES = (
    "coeffs/{}.npy",
    "uvRender256x256/{}.npy",
    "uvRender256x256/{}_uvgttex.png",
    "images512x512/{}.png",
    "headmasks512x512/{}.png",
)


@pytest.mark.parametrize("path", FILES)
def test_missing_and_truncated_files_are_named(data_set, tmp_path, path):
    file = copy(data_set, tmp_path) / path.format("person_000000/00000")
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(UserError, match=rf"{file.name}.*copy it again"):
        released.Released(tmp_path / "data")[0]
    file.unlink()
    with pytest.raises(UserError, match=rf"There is no .*{file.name}"):
        released.Released(tmp_path / "data")[0]


def test_pickled_arrays_are_not_read(data_set, tmp_path):
    file = copy(data_set, tmp_path) / "coeffs/person_000000/00000.npy"
    np.save(file, np.array({"id": 1}), allow_pickle=True)
    with pytest.raises(UserError, match="no array of numpy"):
        released.Released(tmp_path / "data")[0]


def test_a_data_set_without_masks_and_eyes_is_read(data_set, tmp_path):
    root = copy(data_set, tmp_path)
    shutil.rmtree(root / released.HEADS)
    shutil.rmtree(root / released.PERSONS)
    (root / released.RASTERS).rename(root / released.RASTERS_WITHOUT_EYES)
    record, whole = released.Released(root)[1], released.Released(data_set[0])[1]
    assert record.matte is None and record.head_matte is None
    np.testing.assert_array_equal(record.raster, whole.raster)
