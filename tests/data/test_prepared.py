"""Frames and drives straight from the released layout's files."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from invertavatar_jax import settings
from invertavatar_jax.data import prepared, released
from invertavatar_jax.errors import UserError

PAPER, TINY = settings.preset("paper"), settings.preset("tiny")
SMALL_RASTERS = dataclasses.replace(
    PAPER,
    raster_resolution=64,
    uv_resolution=32,
    renderer=dataclasses.replace(PAPER.renderer, image_resolution=128),
)


def make_record(seed: int = 0, *, matte: bool = True) -> released.Record:
    rng = np.random.default_rng(seed)
    mask = rng.uniform(0, 1, (256, 256, 1)).astype(np.float16).astype(np.float32)
    raster = np.concatenate([rng.uniform(-1, 1, (256, 256, 2)), mask, mask], -1)
    uv = np.concatenate([rng.uniform(-1, 1, (256, 256, 2)), rng.integers(0, 2, (256, 256, 1))], -1)
    person = rng.integers(0, 2, (512, 512), dtype=np.uint8) * 255
    return released.Record(
        name="clip/0",
        image=rng.integers(0, 256, (512, 512, 3), dtype=np.uint8),
        camera=rng.normal(size=25).astype(np.float32),
        raster=raster.astype(np.float32),
        coefficients=rng.normal(size=610).astype(np.float32),
        uv_xy_visible=uv.astype(np.float32),
        uv_rgb=rng.integers(0, 256, (256, 256, 3), dtype=np.uint8),
        head_matte=person if matte else None,
        matte=None,
    )


def test_a_frame_holds_what_the_files_hold():
    record = make_record()
    made = prepared.prepare(record, PAPER)
    frame = made.frame
    np.testing.assert_allclose(frame.image[0], record.image / np.float32(127.5) - 1, atol=1e-6)
    np.testing.assert_array_equal(frame.matte[0, ..., 0], record.head_matte / 255)
    np.testing.assert_allclose(frame.uv_rgb[0], record.uv_rgb / np.float32(127.5) - 1, atol=1e-6)
    np.testing.assert_array_equal(frame.uv_xy[0], record.uv_xy_visible[..., :2])
    np.testing.assert_array_equal(frame.uv_visible[0], record.uv_xy_visible[..., 2:])
    np.testing.assert_array_equal(frame.drive.raster[0, ..., :2], record.raster[..., :2])
    np.testing.assert_array_equal(frame.drive.raster[0, ..., 2], record.raster[..., 2] >= 0.5)
    np.testing.assert_array_equal(frame.drive.camera.world_from_camera.ravel(), record.camera[:16])
    np.testing.assert_array_equal(frame.drive.camera.intrinsics.ravel(), record.camera[16:])
    np.testing.assert_array_equal(made.identity, record.coefficients[:150])
    assert frame.frontal_xy is None and frame.drive.box_raster is None


def test_smaller_models_read_every_nth_texel():
    record = make_record()
    frame = prepared.prepare(record, SMALL_RASTERS).frame
    assert frame.image.shape == (1, 128, 128, 3) and frame.matte.shape == (1, 128, 128, 1)
    np.testing.assert_array_equal(frame.uv_xy[0], record.uv_xy_visible[4::8, 4::8, :2])
    np.testing.assert_array_equal(frame.drive.raster[0, ..., :2], record.raster[2::4, 2::4, :2])


def test_without_masks_everything_is_the_person():
    assert (prepared.prepare(make_record(matte=False), PAPER).frame.matte == 1).all()


def test_the_released_mask_weighs_the_visible_texels(tmp_path):
    levels = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(levels).save(tmp_path / prepared.UV_MASK)
    record = make_record()
    mask = prepared.read_uv_mask(tmp_path / "dataset")  # beside the data set
    seen = prepared.prepare(record, PAPER, mask).frame.uv_visible[0, ..., 0]
    np.testing.assert_allclose(seen, record.uv_xy_visible[..., 2] * (levels / 255), atol=1e-6)
    Image.fromarray(levels[:9]).save(tmp_path / prepared.UV_MASK)
    with pytest.raises(UserError, match="256 x 9 pixels; expected 256 x 256"):
        prepared.read_uv_mask(tmp_path)
    assert prepared.read_uv_mask(tmp_path / "a/b") is None


@pytest.mark.parametrize("sizes", [TINY, dataclasses.replace(PAPER, raster_window=(0, 1, 2, 3))])
def test_models_that_read_more_are_refused(sizes):
    prepared.check_reads(PAPER)
    with pytest.raises(UserError, match="released layout"):
        prepared.check_reads(sizes)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="96 x 96 texels"):
        prepared.prepare(make_record(), dataclasses.replace(PAPER, uv_resolution=96))


@pytest.fixture
def root(tmp_path):
    """Labels of two clips, with a frame order that is not that of their names."""
    for clip in "ab":
        (tmp_path / "dataset" / released.IMAGES / clip).mkdir(parents=True)
    files = ["b/10.png", "b/9.png", "a/0.png", "b/x.png", "a/1.png"]
    labels = {"labels": [[file, [0.0] * 25] for file in files]}
    for name in released.LABELS:
        (tmp_path / "dataset" / released.IMAGES / name).write_text(json.dumps(labels))
    return tmp_path


def test_places_in_a_data_set_are_found(root):
    images = root / "dataset" / released.IMAGES
    whole = prepared.Location(root / "dataset", "")
    assert prepared.locate(root) == prepared.locate(root / "dataset") == whole
    assert prepared.locate(images) == whole
    assert prepared.locate(images / "b") == whole._replace(part="b")
    assert prepared.locate(images / "b" / "9.png") == whole._replace(part="b/9.png")
    assert prepared.locate(root / "elsewhere") is None


def test_frames_are_in_the_order_of_their_numbers(root):
    data = released.Released(root / "dataset")
    assert prepared.numbers(data, ["b"]) == [1, 0, 3]
    assert prepared.numbers(data, ["a/1.png", "b/9.png"]) == [4, 1]


def test_several_people_and_unknown_clips_are_refused(root):
    data = released.Released(root / "dataset")
    with pytest.raises(UserError, match=r"holds 2 clips \(a, b\); give one of them"):
        prepared.numbers(data, [""])
    with pytest.raises(UserError, match="lists no frame of c"):
        prepared.numbers(data, ["c"])
