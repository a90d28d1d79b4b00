"""Bad pictures, videos and disks: one sentence, exit code 2, nothing written."""

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from invertavatar_jax import weights
from invertavatar_jax.cli import main as command_line
from invertavatar_jax.cli import people
from invertavatar_jax.export import avatars, video


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Everything that people give by mistake."""
    folder = tmp_path_factory.mktemp("inputs")
    wall = np.full((128, 128, 3), 170, np.uint8)
    Image.fromarray(wall).save(folder / "wall.png")
    Image.fromarray(wall[:8, :8]).save(folder / "tiny.png")
    Image.fromarray(data.astronaut()).save(folder / "person.jpg")
    video.write_video(folder / "walls.mp4", [wall] * 5, 10)
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    video.write_video(folder / "whole.mp4", noise, 10)
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "words.jpg").write_text("no picture")
    (folder / "half.jpg").write_bytes((folder / "person.jpg").read_bytes()[:9000])
    (folder / "nothing").mkdir()
    return folder


def refuse(capsys, *argv) -> str:
    """Runs a verb that fails by the user's fault and returns its one sentence."""
    assert command_line.main([*map(str, argv), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


BAD = {
    "wall.png": "no face",
    "tiny.png": "expected at least",
    "walls.mp4": "no face",
    "cut.mp4": "cut short",
    "empty.mp4": "the file is empty",
    "words.jpg": "expected a photo or a video",
    "half.jpg": "damaged",
    "nothing": "an empty folder",
    "absent.png": "no such file",
}


@pytest.mark.parametrize("name", BAD)
def test_what_shows_no_face_is_told(capsys, inputs, tmp_path, name):
    argv = ["fit", inputs / name, "--out", tmp_path / "t.npz", "--report", tmp_path / "r.json"]
    said = refuse(capsys, *argv)
    assert said.startswith("avatar fit: ") and name in said and BAD[name] in said
    assert list(tmp_path.iterdir()) == []


def test_a_face_that_is_not_there_is_told(capsys, inputs, tmp_path):
    argv = ["fit", inputs / "person.jpg", "--face", 3, "--out", tmp_path / "t.npz"]
    assert "no face of rank 3" in refuse(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_a_verb_with_one_sentence(
    capsys, person, avatar_file, tmp_path, monkeypatch
):
    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:99])
        raise OSError(errno.ENOSPC, "No space left on device")

    avatar, _ = avatars.read_avatar(avatar_file)  # compiled and computed once for all tests
    monkeypatch.setattr(people, "reconstruct", lambda *_: avatar)
    monkeypatch.setattr(people, "score_sources", lambda *_: ({}, []))
    monkeypatch.setattr(Path, "write_bytes", full)
    argv = ["reconstruct", person / "photo.npz", "--out", tmp_path / "a.avatar"]
    said = refuse(capsys, *argv, "--weights", person / "tiny.safetensors")
    assert "a.avatar was not written: there is no space left on its disk." in said
    assert list(tmp_path.iterdir()) == []


def test_networks_of_another_head_model_take_no_photos(capsys, person, tmp_path):
    loaded, model, _ = weights.load(person / "tiny.safetensors")
    weights.save(tmp_path / "foreign.safetensors", loaded, model, {"head": "FaceVerse v3.1"})
    argv = ["reconstruct", person / "track.npz", "--weights", tmp_path / "foreign.safetensors"]
    said = refuse(capsys, *argv, "--out", tmp_path / "me.avatar")
    assert "FaceVerse v3.1" in said and "released layout" in said
    assert not (tmp_path / "me.avatar").exists()
