"""`avatar prepare` from the command line: with Apache Beam, again, and without it."""

import importlib.util
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from invertavatar_jax.cli import main as command_line
from invertavatar_jax.data import released
from invertavatar_jax.data.doctor.examine import examine
from invertavatar_jax.export import video

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="needs ./avatar setup requirements-prepare.txt",
)
# Beam's own imports warn of what they will have to change.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def call(capsys, *argv) -> tuple[int, str, str]:
    code = command_line.main(["prepare", *map(str, argv), "--json", "--device", "cpu"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_without_beam_the_command_that_installs_it_is_told(capsys, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name == "apache_beam" else find(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    code, _, said = call(capsys, tmp_path, "--out", tmp_path / "data")
    assert code == 2 and "./avatar setup requirements-prepare.txt" in said
    assert not (tmp_path / "data").exists()


@needs_beam
@quiet
@pytest.mark.slow
def test_a_video_becomes_a_data_set_without_faults_once(capsys, tmp_path):
    photo = skimage.data.astronaut()[:400, :400]
    moved = [np.roll(photo, shift, axis=(0, 1)) for shift in (0, 2, 5)]
    clip = tmp_path / "clip.mp4"
    video.write_video(clip, moved, 10.0)
    out = tmp_path / "data"
    code, told, _ = call(capsys, clip, "--out", out)
    assert code == 0 and json.loads(told)["frames"] == 3
    assert examine(out).faults == [] and len(released.Released(out)) == 3
    written = {path: path.stat().st_mtime_ns for path in out.glob("*512/*/*")}
    code, told, said = call(capsys, clip, "--out", out)
    assert code == 0 and "1 of 1 clips are finished already" in said
    assert {path: path.stat().st_mtime_ns for path in written} == written
    other = tmp_path / "other" / clip.name
    other.parent.mkdir()
    other.touch()
    code, _, said = call(capsys, other, "--out", out)
    assert code == 2 and "rename the file" in said


@needs_beam
@quiet
def test_what_shows_no_face_is_reported_and_no_data_set_is_made(capsys, tmp_path):
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    out = tmp_path / "data"
    code, told, _ = call(capsys, tmp_path / "grey.png", "--out", out)
    told = json.loads(told)
    assert code == 0 and (told["clips"], told["reasons"]) == (0, {"no face": 1})
    assert not (out / released.IMAGES).exists() and (out / "report.md").exists()
