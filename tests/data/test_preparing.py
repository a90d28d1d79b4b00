"""From tracked frames to a data set: what is kept, why the rest is not, and interrupted runs."""

import json

import numpy as np
import pytest
from PIL import Image

from invertavatar_jax import frames, settings
from invertavatar_jax.data import released
from invertavatar_jax.data.doctor.examine import examine
from invertavatar_jax.data.preparing import clip, quality, reports, sources
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import camera, morphable
from invertavatar_jax.types import Camera, FaceFit
from tests.data import faults

COUNT = 4  # and three of them are drawn by the program that is compiled for four


class Faces:
    """A detector that sees faces of these sides in whole crops, apart from each other."""

    def __init__(self, *sides: float):
        self.sides = sides

    def find(self, picture, most):
        if len(picture) != clip.CROP:
            return []
        points = np.linspace(0, 1, 478 * 3).reshape(478, 3).astype(np.float32)
        places = ((side, index) for index, side in enumerate(self.sides))
        return [points * side + np.float32(300 * index) for side, index in places][:most]


@pytest.fixture(scope="module")
def head():
    return morphable.load_head_model()


@pytest.fixture(scope="module")
def geometry(head):
    return frames.geometry(head, settings.preset("paper"))


@pytest.fixture(scope="module")
def track(head) -> FaceFit:
    """Four frames of one head before clouds of colour; nothing is wrong with them."""
    drawn = faults.draw_clip(np.random.default_rng(8), head, COUNT)
    return FaceFit(
        identity=drawn.identity,
        expression=drawn.expression,
        gaze_rad=drawn.gaze_rad,
        camera=Camera(*camera.from_vector(drawn.camera)),
        image=drawn.image,
        matte=drawn.matte,
        landmarks_px=np.random.default_rng(1).uniform(150, 350, (COUNT, 478, 2)).astype("f4"),
        source_from_crop=np.tile(np.eye(3, dtype=np.float32), (COUNT, 1, 1)),
        has_face=np.ones(COUNT, bool),
        frame_index=np.arange(COUNT),
        frames_per_second=10.0,
    )


def source(name: str = "anna", *, is_video: bool = True) -> sources.Source:
    return sources.Source(name, f"{name}.mp4", is_video)


def tracked(track: FaceFit, *reasons: str | None) -> clip.Tracked:
    return clip.Tracked(source(), track, list(reasons) or [None] * COUNT)


def texture(side: int = 512) -> np.ndarray:
    """A sharp picture."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_every_frame_gets_its_own_reason(track):
    image = np.stack([texture(), texture(), texture() // 2, texture()])
    good = track._replace(image=image)
    assert quality.judge(good, Faces(200.0)) == [None, quality.COPY, None, None]
    assert quality.judge(good, Faces(200.0, 100.0))[0] == quality.SEVERAL
    assert quality.judge(good, Faces(200.0, 50.0))[0] is None
    assert quality.judge(good, Faces(200.0), least_side=513) == [quality.SMALL] * COUNT
    away = good._replace(has_face=np.zeros(COUNT, bool))
    assert quality.judge(away, Faces()) == [quality.NO_FACE] * COUNT
    assert quality.judge(away, Faces(200.0)) == [quality.LOST] * COUNT
    flat = np.asarray(Image.fromarray(texture(16)).resize((512, 512), Image.Resampling.BICUBIC))
    assert quality.judge(good._replace(image=flat[None]), Faces(200.0)) == [quality.BLURRED]


def test_what_is_written_is_sound_and_numbered_anew(track, geometry, tmp_path):
    options = clip.Options(str(tmp_path))
    record = clip.write_clip(tracked(track, None, "blurred", None, None), options, geometry)
    reports.finish(tmp_path)
    assert examine(tmp_path).faults == []
    assert record["frames"] == [0, 2, 3]
    assert record["rejected"] == [{"frame": 1, "reason": "blurred"}]
    data = released.Released(tmp_path)
    assert [file for file, _ in data.labels] == [f"anna/0000{i}.png" for i in range(3)]
    np.testing.assert_array_equal(data[1].image, track.image[2])
    np.testing.assert_array_equal(data[1].camera, camera.to_vector(track.camera)[2])
    assert data[1].head_matte is None and data[1].contours.any()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["frames"], report["reasons"]) == (3, {"blurred": 1})
    assert "| anna | anna.mp4 | 3 | 1 | blurred (1) |" in (tmp_path / "report.md").read_text()
    assert Image.open(tmp_path / "sheet.png").height > 2 * clip.TILE
    assert not (tmp_path / clip.STAGE / "anna").exists()


def test_what_the_doctor_objects_to_is_left_out(track, geometry, tmp_path):
    matte = track.matte.copy()
    matte[1] = 255 - matte[1]
    options = clip.Options(str(tmp_path))
    record = clip.write_clip(tracked(track._replace(matte=matte)), options, geometry)
    reports.finish(tmp_path)
    assert record["frames"] == [0, 2, 3] and examine(tmp_path).faults == []
    assert record["rejected"][0]["reason"].startswith("mask is not inverted")


def test_an_interrupted_clip_is_made_again_and_leaves_nothing(
    track, geometry, tmp_path, monkeypatch
):
    options = clip.Options(str(tmp_path))
    replace, done = clip.os.replace, []

    def stop(here, there):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(there)
        replace(here, there)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(clip.os, "replace", stop)
        clip.write_clip(tracked(track), options, geometry)
    assert reports.read_record(tmp_path, "anna") is None
    assert not (tmp_path / clip.STAGE / "anna").exists()
    clip.write_clip(tracked(track), options, geometry)
    reports.finish(tmp_path)
    assert examine(tmp_path).faults == [] and len(released.Released(tmp_path)) == COUNT


def test_frames_are_spread_and_a_video_needs_two():
    good = [None] * 10
    assert clip.choose(good, is_video=True, most=4) == [0, 2, 5, 7]
    single = [None, "blurred"]
    assert clip.choose(single, is_video=True, most=None) == []
    assert single == [clip.TOO_FEW, "blurred"]
    assert clip.choose([None], is_video=False, most=None) == [0]


def test_a_source_without_a_face_is_reported(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path)
    given = sources.Source("grey", str(path), False)
    found = clip.track_source(given, clip.Options(str(tmp_path)), Faces())
    assert (found.track, found.error) == (None, quality.NO_FACE)
    path.write_bytes(b"no picture")
    assert clip.track_source(given, clip.Options(""), Faces()).error.startswith("unreadable: ")


def test_sources_get_plain_names(tmp_path):
    for name in ("A b.JPG", "c/A b.jpg", "c/.hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item.name for item in sources.find_sources([tmp_path])] == ["a_b", "c_a_b"]
    with pytest.raises(UserError, match="would both be clip 'a_b'"):
        sources.find_sources([tmp_path, tmp_path / "c"])
    (tmp_path / "v.mp4").touch()
    with pytest.raises(UserError, match="mixed"):
        sources.find_sources([tmp_path])
    with pytest.raises(UserError, match="no such file"):
        sources.find_sources([tmp_path / "nothing"])
    with pytest.raises(UserError, match="no photo or video"):
        sources.find_sources([tmp_path / "notes.txt"])
