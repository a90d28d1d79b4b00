"""The released layout: what is written is read back, and means the same."""

import json

import numpy as np
import pytest

from invertavatar_jax import frames, settings
from invertavatar_jax.data import released
from invertavatar_jax.data.synthetic import scene
from invertavatar_jax.errors import UserError


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
        part = lambda name, record=record: record.coefficients[released.SLICES[name]]
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
