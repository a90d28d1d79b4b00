"""Every kind of photo and video is read upright in 8 bits; bad input is one clear sentence."""

import warnings

import numpy as np
import pytest
from PIL import Image

from invertavatar_jax.fit.sources import SourceError, open_source, read_photo


@pytest.fixture
def picture() -> np.ndarray:
    """40 x 60 pixels: the top left quarter is red, the rest is grey."""
    array = np.full((40, 60, 3), 128, np.uint8)
    array[:20, :30] = (200, 30, 30)
    return array


def save(array, path, **options):
    Image.fromarray(array).save(path, **options)
    return path


def raises(given, *words, **options):
    """The one message of reading all frames; it must be one line and hold all words."""
    with pytest.raises(SourceError) as caught:
        list(open_source(given, **options).frames())
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(tmp_path, picture, orientation):
    turned = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),
        7: np.rot90(picture.transpose(1, 0, 2), 2),
        8: np.rot90(picture, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(turned[orientation])).save(path, exif=exif)
    np.testing.assert_array_equal(read_photo(path), picture)


def test_transparency_is_laid_on_white(tmp_path, picture):
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[20:] = 0
    read = read_photo(save(np.concatenate((picture, alpha), -1), tmp_path / "a.png"))
    np.testing.assert_array_equal(read[:20], picture[:20])
    assert (read[20:] == 255).all()


def test_sixteen_bits_keep_their_brightness(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))
    path = tmp_path / "deep.png"
    Image.fromarray(ramp).save(path)
    np.testing.assert_allclose(read_photo(path)[0, :, 0], ramp[0] / 257, atol=0.51)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK"])
def test_other_modes_give_three_channels(tmp_path, picture, mode):
    path = tmp_path / ("p.tif" if mode == "CMYK" else "p.png")
    Image.fromarray(picture).convert(mode).save(path)
    read = read_photo(path)
    assert read.shape == picture.shape and read.dtype == np.uint8
    assert read[5, 5].sum() < read[35, 5].sum() + 1  # the red quarter is the darker one


def test_a_folder_is_read_in_natural_order(tmp_path):
    for value in (10, 2, 1):
        save(np.full((32, 32, 3), value, np.uint8), tmp_path / f"img{value}.png")
    (tmp_path / "notes.txt").write_text("not a photo")
    source = open_source(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in source.frames()] == [1, 2, 10]
    assert source.count == 3 and not source.is_video


def test_frames_can_be_read_twice(picture):
    source = open_source([picture, picture // 2])
    for first, second in zip(source.frames(), source.frames(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_video_gives_all_frames_in_order(write_video, moving_bars):
    source = open_source(write_video(moving_bars))
    frames = np.stack(list(source.frames()))
    assert source.is_video and source.frames_per_second == 10
    np.testing.assert_allclose(frames, moving_bars, atol=6)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_video_is_turned_as_its_header_says(write_video, moving_bars, quarter):
    angle = {1: 90, 2: 180, 3: -90}[quarter]
    frames = list(open_source(write_video(moving_bars, rotation=angle)).frames())
    np.testing.assert_allclose(frames[3], np.rot90(moving_bars[3], quarter), atol=6)


def test_a_cut_video_gives_its_frames_and_then_says_how_many(tmp_path, write_video, moving_bars):
    whole = write_video(moving_bars, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    read = []
    with pytest.raises(SourceError, match=r"cut\.mp4.*cut short: \d+ of 20 frames") as caught:
        for frame in open_source(cut).frames():
            read.append(frame)
    assert 0 < len(read) < 20 and f" {len(read)} of 20" in str(caught.value)
    with pytest.warns(UserWarning, match="cut short"):
        assert len(list(open_source(cut, allow_truncated=True).frames())) == len(read)


def test_a_whole_video_gives_no_warning(write_video, moving_bars):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(open_source(write_video(moving_bars), allow_truncated=True).frames())


def test_a_missing_file_is_named(tmp_path):
    raises(tmp_path / "absent.jpg", "absent.jpg", "no such file")


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "none.mp4").touch()
    raises(tmp_path / "none.mp4", "none.mp4", "empty")


@pytest.mark.parametrize("name", ["text.jpg", "text.mp4", "text.dat"])
def test_a_file_that_is_no_picture_is_named(tmp_path, name):
    (tmp_path / name).write_text("hello " * 100)
    raises(tmp_path / name, name)


def test_a_damaged_photo_is_named(tmp_path, picture):
    path = save(picture, tmp_path / "half.png")
    path.write_bytes(path.read_bytes()[:80])
    raises(path, "half.png", "damaged")


def test_a_video_without_pictures_is_named(tmp_path, write_video, moving_bars):
    path = write_video(moving_bars, options={"movflags": "faststart"})
    content = path.read_bytes()
    (tmp_path / "head.mp4").write_bytes(content[: content.index(b"mdat") + 8])
    raises(tmp_path / "head.mp4", "head.mp4", "zero frames")


def test_an_empty_folder_is_named(tmp_path):
    raises(tmp_path, str(tmp_path), "empty folder")


def test_a_folder_without_photos_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    raises(tmp_path, "folder of photos", "1 other files")


def test_a_tiny_photo_is_refused(tmp_path):
    path = save(np.zeros((20, 50, 3), np.uint8), tmp_path / "tiny.png")
    raises(path, "tiny.png", "50 x 20", "32 x 32")


def test_no_photos_at_all_is_an_error():
    raises([], "zero photos")


@pytest.mark.parametrize("array", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.float32)])
def test_an_array_of_another_kind_is_refused(array):
    raises([array], "uint8 RGB")
