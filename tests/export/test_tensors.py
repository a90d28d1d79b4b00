"""Avatar, weights and track files: what was written is read, anything else is told."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors, tracks
from invertavatar_jax.types import Camera, FaceFit


@pytest.fixture
def written(tmp_path):
    arrays = {
        "planes/0": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "n": np.array(3, np.int32),
    }
    tensors.write_tensors(tmp_path / "a.avatar", "avatar", arrays, {"preset": "tiny"})
    return tmp_path / "a.avatar", arrays


def test_arrays_and_details_come_back(written):
    path, arrays = written
    read, details = tensors.read_tensors(path, "avatar")
    assert details == {"preset": "tiny"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_a_truncated_file_is_told_at_every_length(written):
    path, _ = written
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged|another"):
            tensors.read_tensors(path, "avatar")


def test_weights_are_not_taken_for_an_avatar(written):
    with pytest.raises(UserError, match="holds avatar; expected a weights file"):
        tensors.read_tensors(written[0], "weights")


def test_foreign_files_are_told(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "b.avatar")
    with pytest.raises(UserError, match="of another program"):
        tensors.read_tensors(tmp_path / "b.avatar", "avatar")
    (tmp_path / "c.avatar").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="another format"):
        tensors.read_tensors(tmp_path / "c.avatar", "avatar")
    with pytest.raises(UserError, match="There is no avatar file"):
        tensors.read_tensors(tmp_path / "d.avatar", "avatar")
    with pytest.raises(UserError, match="is a folder"):
        tensors.read_tensors(tmp_path, "avatar")


def test_a_newer_layout_is_told(written, monkeypatch):
    monkeypatch.setattr(tensors, "VERSION", 0)
    with pytest.raises(UserError, match="update the program"):
        tensors.read_tensors(written[0], "avatar")


def example_track(count=3, side=16):
    rng = np.random.default_rng(0)
    return FaceFit(
        identity=rng.normal(size=5).astype(np.float32),
        expression=rng.uniform(size=(count, 4)).astype(np.float32),
        gaze_rad=np.zeros((count, 4), np.float32),
        camera=Camera(
            np.tile(np.eye(4, dtype=np.float32), (count, 1, 1)),
            np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        ),
        image=rng.integers(0, 255, (count, side, side, 3), dtype=np.uint8),
        matte=np.full((count, side, side), 255, np.uint8),
        landmarks_px=rng.uniform(size=(count, 478, 2)).astype(np.float32),
        source_from_crop=np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        has_face=np.ones(count, bool),
        frame_index=np.arange(count),
        frames_per_second=29.97,
    )


def test_a_track_comes_back(tmp_path):
    track = example_track()
    tracks.write_track(tmp_path / "t.npz", track)
    read = tracks.read_track(tmp_path / "t.npz")
    assert read.frames_per_second == track.frames_per_second
    for name, value in track._asdict().items():
        if name != "camera":
            np.testing.assert_array_equal(getattr(read, name), value)
    for name, value in track.camera._asdict().items():
        np.testing.assert_array_equal(getattr(read.camera, name), value)


def test_what_is_no_track_is_told(tmp_path):
    path = tmp_path / "t.npz"
    with pytest.raises(UserError, match="There is no track file"):
        tracks.read_track(path)
    np.savez(path, image=np.zeros(3))
    with pytest.raises(UserError, match="is not a track"):
        tracks.read_track(path)
    tracks.write_track(path, example_track())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match="damaged"):
        tracks.read_track(path)


def test_a_track_with_code_inside_is_refused(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, kind=np.array([print], dtype=object))
    with pytest.raises(UserError, match="is not a track"):
        tracks.read_track(path)
