"""The synthetic heads as a tfds data set, without TensorFlow."""

import sys

import numpy as np
import pytest

from invertavatar_jax import frames, settings
from invertavatar_jax.data import landmark_map, training
from invertavatar_jax.data.synthetic import scene
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.types import Camera

pytestmark = pytest.mark.filterwarnings("ignore")  # of tfds


@pytest.fixture(scope="module")
def studio():
    return scene.open_studio(size=32)


@pytest.fixture(autouse=True)
def one_studio(studio, monkeypatch):
    """Compiling is most of the time, so all tests draw in one studio."""
    from tfds_builders.synthetic_heads import synthetic_heads_dataset_builder as module

    monkeypatch.setattr(module, "open_studio", lambda size: {32: studio}[size])


def draw(studio, count, seed=0):
    numbers = (np.random.default_rng([seed, number]) for number in range(count))
    return [scene.sample_scene(rng, studio, 2) for rng in numbers]


def test_the_builder_writes_what_the_generator_draws(studio, tmp_path):
    from tfds_builders.synthetic_heads.synthetic_heads_dataset_builder import Builder

    builder = Builder(config="tiny", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    examples = list(builder.as_data_source(split="train"))
    assert len(examples) == 2
    drawn = draw(studio, 2)
    for example in examples:
        twin = min(drawn, key=lambda clip: np.abs(clip.identity - example["identity"]).max())
        np.testing.assert_array_equal(example["identity"], twin.identity)
        np.testing.assert_array_equal(np.stack(example["image"]), twin.image)
        np.testing.assert_array_equal(np.stack(example["matte"])[..., 0], twin.matte)
        np.testing.assert_array_equal(example["camera"], twin.camera)


def write(monkeypatch, out, *options):
    """Runs the command line of records."""
    from tfds_builders.synthetic_heads import __main__ as command

    argv = ["synthetic_heads", "--records", "--frames", "2", "--out", str(out), *options]
    monkeypatch.setattr(sys, "argv", argv)
    return command.main()


def test_records_are_what_the_networks_read_of_the_drawn_people(studio, tmp_path, monkeypatch):
    assert write(monkeypatch, tmp_path, "--identities", "2", "--preset", "tiny") == 0
    data = training.open_records(tmp_path)
    model = settings.preset("tiny_paper")
    data.check(model)
    assert [(clip.name, clip.count) for clip in data.clips] == [
        ("person_000000", 2),
        ("person_000001", 2),
    ]
    head = studio.anatomy.head
    geometry = frames.geometry(head, model)
    for person, clip in enumerate(draw(studio, 2)):
        camera = Camera(*from_vector(clip.camera))
        driven = (np.tile(clip.identity, (2, 1)), clip.expression, clip.gaze_rad)
        seen, _ = frames.make_frames(geometry, clip.image, clip.matte, *driven, camera)
        vertices, _ = geometry.deform(*driven)
        points = landmark_map.place_landmarks(head, vertices, camera, 32)
        for index in range(2):
            record = data[2 * person + index]
            np.testing.assert_array_equal(record["image"], clip.image[index])
            np.testing.assert_array_equal(record["matte"][..., 0], clip.head_matte[index])
            np.testing.assert_array_equal(record["camera"], clip.camera[index])
            np.testing.assert_array_equal(record["raster"], seen.drive.raster[index])
            np.testing.assert_array_equal(record["uv_visible"], seen.uv_visible[index])
            np.testing.assert_allclose(record["uv_xy"], seen.uv_xy[index], atol=2**-11)
            shown = record["uv_rgb"] / 127.5 - 1
            np.testing.assert_allclose(shown, seen.uv_rgb[index], atol=1 / 255 + 1e-6)
            lines = landmark_map.draw_landmarks(points[index], 32)
            np.testing.assert_array_equal(record["landmarks"], lines)
            # lines lie on the face: where the head mask is set, or nearly
            drawn = record["landmarks"].max(-1) > 60
            assert drawn.sum() > 60 and record["matte"][drawn].mean() > 220


def test_records_of_one_seed_are_one_data_set(tmp_path, monkeypatch, capsys):
    # these people's hair is of one number of strands: another would be compiled anew
    for name, seed in (("a", "0"), ("b", "0"), ("c", "42")):
        assert write(monkeypatch, tmp_path / name, "--identities", "1", "--seed", seed) == 0
    first, same, other = (training.open_records(tmp_path / name).fingerprint for name in "abc")
    assert first == same != other
    assert write(monkeypatch, tmp_path / "a", "--identities", "1", "--seed", "0") == 2
    assert "is there already: delete it" in capsys.readouterr().err
    assert write(monkeypatch, tmp_path / "d", "--identities", "1", "--preset", "huge") == 2
    assert "got preset 'huge', expected one of paper" in capsys.readouterr().err
