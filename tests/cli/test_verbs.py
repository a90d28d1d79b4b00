"""Every verb from its command line to its files, with a made-up person and a tiny model."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from invertavatar_jax.cli import main as command_line
from invertavatar_jax.export import avatars


def call(capsys, *argv) -> dict:
    """Runs a verb that succeeds and returns its JSON."""
    assert command_line.main([*map(str, argv), "--json", "--device", "cpu"]) == 0
    return json.loads(capsys.readouterr().out)


def refuse(capsys, *argv) -> str:
    """Runs a verb that fails by the user's fault and returns its one sentence."""
    assert command_line.main([*map(str, argv), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def video_frames(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_info_counts_the_released_model(capsys):
    told = call(capsys, "info")
    parameters = told["presets"]["paper"]["parameters"]
    assert parameters["generator"] == 88_301_010
    assert parameters["total"] == 449_054_962
    assert {"paper", "small", "tiny"} <= set(told["presets"])
    assert told["presets"]["small"]["parameters"]["total"] <= 12_000_000


def test_an_avatar_file_tells_where_it_came_from_and_reads_back(avatar_file, person):
    avatar, details = avatars.read_avatar(avatar_file)
    assert details["preset"] == "tiny"
    assert details["sources"] == ["track.npz"]
    assert details["frames"] == [0, 2, 4]
    assert len(details["weights_sha256"]) == 64
    assert avatar.w_plus.shape[0] == 1
    assert all(np.isfinite(m).all() for m in [*avatar.maps.textures, *avatar.maps.static])


def test_a_track_drives_an_avatar_frame_by_frame(capsys, avatar_file, person, tmp_path):
    told = call(
        *(capsys, "animate", avatar_file, "--drive", person / "track.npz"),
        *("--weights", person / "tiny.safetensors", "--out", tmp_path / "v.mp4"),
    )
    assert told["frames"] == 6
    beside, alone = video_frames(told["video"]), video_frames(told["video_alone"])
    assert len(beside) == len(alone) == 6
    assert alone[0].shape == (32, 32, 3) and beside[0].shape == (32, 64, 3)
    assert "render and write" in told["seconds"]


def test_expressions_drive_an_avatar(capsys, avatar_file, person, tmp_path):
    drive = tmp_path / "drive.json"
    drive.write_text(json.dumps({"frames_per_second": 5, "frames": [{}, {"jawOpen": 1}]}))
    told = call(
        *(capsys, "animate", avatar_file, "--drive", drive),
        *("--weights", person / "tiny.safetensors", "--out", tmp_path / "v.mp4"),
    )
    assert told["frames"] == 2 and "video_alone" not in told
    assert "psnr_to_exact" not in told
    assert len(video_frames(tmp_path / "v.mp4")) == 2


def test_a_preview_says_how_near_it_comes(capsys, avatar_file, person, tmp_path):
    told = call(
        *(capsys, "orbit", avatar_file, "--out", tmp_path / "o.mp4", "--frames", 5, "--fast"),
        *("--weights", person / "tiny.safetensors"),
    )
    assert told["frames"] == 5
    assert 15 < told["psnr_to_exact"] < 60


def test_an_orbit_is_a_video(capsys, avatar_file, person, tmp_path):
    told = call(
        *(capsys, "orbit", avatar_file, "--out", tmp_path / "o.mp4", "--frames", 5),
        *("--weights", person / "tiny.safetensors"),
    )
    assert told["frames"] == len(video_frames(tmp_path / "o.mp4")) == 5


def test_a_clip_is_evaluated_on_frames_that_were_not_shown(capsys, person, tmp_path):
    told = call(
        *(capsys, "evaluate-clip", person / "track.npz", "--sources", "1,3", "--targets", 2),
        *("--weights", person / "tiny.safetensors", "--out", tmp_path / "r.json"),
        *("--sheet", tmp_path / "s.png"),
    )
    assert told == json.loads((tmp_path / "r.json").read_text())
    assert told["target_frames"] == [3, 4]
    assert list(told["sources"]) == ["1", "3"]
    for scores in told["sources"].values():
        assert not set(scores["source_frames"]) & set(told["target_frames"])
        for method in (scores, scores["mean_colour"], scores["textured_mesh"]):
            assert 0 < method["psnr_face"] < 60 and 0 < method["psnr_head"] < 60
            assert 0 < method["l1"] < 1
    assert Image.open(tmp_path / "s.png").size[0] > 4 * 192


@pytest.mark.parametrize(("source", "frames"), [("photo.npz", 96), ("track.npz", 6)])
def test_demo_writes_everything_it_promises(capsys, person, tmp_path, source, frames):
    out = tmp_path / "new" / "folder"
    told = call(
        *(capsys, "demo", "--clip", person / source, "--out", out),
        *("--weights", person / "tiny.safetensors"),
    )
    names = {"demo.mp4", "demo_alone.mp4", "sheet.png", "me.avatar", "report.json"}
    assert {path.name for path in out.iterdir()} == names
    assert told == json.loads((out / "report.json").read_text())
    assert told["frames"] == len(video_frames(out / "demo.mp4")) == frames
    assert {"seconds", "device", "weights_sha256", "psnr_face", "psnr_head"} <= told.keys()
    assert told["device"].startswith("cpu")


def test_the_result_in_words_names_every_entry(capsys, avatar_file, person, tmp_path):
    argv = ["orbit", avatar_file, "--out", tmp_path / "o.mp4", "--frames", 2]
    argv += ["--weights", person / "tiny.safetensors"]
    assert command_line.main(list(map(str, argv))) == 0
    said = capsys.readouterr()
    assert "frames: 2" in said.out and "  render and write: " in said.out
    assert "render and write ..." in said.err and " s on cpu" in said.err


BAD = {
    "no avatar": (["animate", "none.avatar", "--drive", "{p}/track.npz"], "There is no avatar"),
    "a track as avatar": (["orbit", "{p}/track.npz"], "is damaged, truncated or of another"),
    "weights as avatar": (["orbit", "{p}/tiny.safetensors"], "holds weights; expected an avatar"),
    "other weights": (["orbit", "{a}", "--weights", "{p}/other.safetensors"], "other weights"),
    "an avatar as weights": (["orbit", "{a}", "--weights", "{a}"], "holds avatar; expected a"),
    "no weights": (["orbit", "{a}", "--weights", "none"], "There is no weights file"),
    "no driver": (["animate", "{a}", "--drive", "none.npz"], "There is no track"),
    "no expressions": (["animate", "{a}", "--drive", "none.json"], "cannot be read"),
    "no clip": (["animate", "{a}", "--drive", "none.mp4"], "none.mp4"),
    "no views": (["orbit", "{a}", "--frames", "0"], "expected 1 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_sentence(capsys, avatar_file, person, tmp_path, case):
    argv, said = BAD[case]
    argv = [part.format(p=person, a=avatar_file) for part in argv]
    if "--weights" not in argv:
        argv += ["--weights", str(person / "tiny.safetensors")]
    assert said in refuse(capsys, *argv, "--out", tmp_path / "v.mp4")
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_the_work(capsys, person, tmp_path):
    said = refuse(capsys, "reconstruct", person / "track.npz", "--out", tmp_path / "a.mp4")
    assert "expected a name that ends in .avatar" in said
    said = refuse(capsys, "fit", person / "track.npz", "--out", tmp_path / "a.mp4")
    assert "expected a name that ends in .npz" in said
    said = refuse(capsys, "demo", "--out", person / "track.npz")
    assert "is a file; give the name of a folder" in said


def test_too_few_faces_for_an_evaluation_are_told(capsys, person):
    argv = ["evaluate-clip", person / "track.npz", "--weights", person / "tiny.safetensors"]
    assert "face in 3 frames of its first half" in refuse(capsys, *argv)
    assert "expected numbers from 1 up" in refuse(capsys, *argv, "--sources", "one")


def test_a_wrong_configuration_is_told(capsys, tmp_path):
    argv = ["train", "--out", tmp_path / "run", "--config"]
    assert "no configuration file" in refuse(capsys, *argv, "none.py")
    (tmp_path / "empty.py").write_text("")
    assert "no function get_config" in refuse(capsys, *argv, tmp_path / "empty.py")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_verb_has_help_and_the_common_options(capsys, verb):
    with pytest.raises(SystemExit) as stop:
        command_line.main([verb, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--seed", "--device", "--json"))


def test_help_starts_without_jax():
    """Half a second instead of five."""
    import subprocess
    import sys

    program = (
        "import sys; from invertavatar_jax.cli import main\n"
        "try: main.main(['demo', '--help'])\n"
        "except SystemExit: print([m for m in ('jax', 'av', 'mediapipe') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
