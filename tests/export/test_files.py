"""Output files are whole or absent."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files, picture, tracks, video


def frames(count, height=48, width=64):
    rows = np.arange(height)[:, None, None] * 3
    for index in range(count):
        yield np.broadcast_to(rows + 9 * index, (height, width, 3)).astype(np.uint8)


def test_an_error_while_writing_keeps_the_old_file_and_leaves_no_other(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_in_one_sentence(tmp_path, code):
    with pytest.raises(UserError, match=r"a\.txt was not written: [^.]*\.$"):
        with files.replacing(tmp_path / "a.txt"):
            raise OSError(code, "full")
    assert list(tmp_path.iterdir()) == []


def test_other_system_errors_are_not_called_a_full_disk(tmp_path):
    with pytest.raises(OSError, match="input/output"), files.replacing(tmp_path / "a.txt"):
        raise OSError(errno.EIO, "input/output")


def test_a_folder_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="is a folder"), files.replacing(tmp_path):
        pass


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot be written"), files.replacing(tmp_path / "a/b"):
        pass


def test_json_refuses_values_that_json_does_not_have(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"psnr": float("nan")})
    assert list(tmp_path.iterdir()) == []
    files.write_json(tmp_path / "a.json", {"psnr": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"psnr": 1.5}


WRITERS = {
    "video.mp4": "video.write_video(path, noise, 25)",
    "sheet.png": "picture.write_png(path, noise[0])",
    "me.avatar": "tensors.write_tensors(path, 'avatar', {'a': noise[0]}, {})",
    "report.json": "files.write_json(path, list(range(99999)))",
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_met_half_way_leaves_nothing(tmp_path, name):
    """The kernel refuses bytes beyond 4 KiB a file, as a full disk would."""
    program = f"""
import resource
import numpy as np
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files, picture, tensors, video
noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
path = {str(tmp_path / name)!r}
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    {WRITERS[name]}
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "was not written" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_a_video_is_h264_with_even_sides_and_every_frame(tmp_path, height, width):
    import av

    path = tmp_path / "a.mp4"
    assert video.write_video(path, frames(7, height, width), 12.5) == 7
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 12.5
    assert len(shown) == 7
    assert shown[0].shape == (height + height % 2, width + width % 2, 3)
    for seen, meant in zip(shown, frames(7, height, width), strict=True):
        assert np.abs(seen[:height, :width].astype(int) - meant).mean() < 3


def test_a_video_without_frames_is_an_error_and_no_file(tmp_path):
    with pytest.raises(UserError, match="no frames"):
        video.write_video(tmp_path / "a.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.avi", lambda path: video.write_video(path, frames(1), 25)),
        ("a.jpg", lambda path: picture.write_png(path, next(frames(1)))),
        ("a.track", lambda path: tracks.write_track(path, None)),
    ],
)
def test_a_name_of_another_format_is_refused(tmp_path, name, write):
    with pytest.raises(UserError, match="give a name that ends in"):
        write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
