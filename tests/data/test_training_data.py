"""Frame records and the batches dealt out of them."""

import collections
import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from invertavatar_jax import settings
from invertavatar_jax.data import prepared, records, released, training
from invertavatar_jax.errors import USER_ERROR, UserError
from tests.data.layouts import write_layout

pytestmark = pytest.mark.filterwarnings("ignore")  # of tfds
SIZES = records.sizes_of(settings.preset("tiny_paper"))
CLIPS = {"anna": 3, "bert": 5, "cleo": 4}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("layout"), CLIPS, side=40)


@pytest.fixture(scope="module")
def built(tmp_path_factory, layout):
    """The layout as records at tiny sizes."""
    return build(tmp_path_factory.mktemp("built"), layout, "tiny_paper")


def build(out, layout, preset, name="vfhq"):
    import importlib

    from tfds_builders import command

    module = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder")
    builder = module.Builder(config=preset, data_dir=out, file_format="array_record")
    return command.build(builder, manual=layout)


def made_up(counts):
    """Records in memory: a camera's first number is the record's, the second its clip's."""
    source, clips = [], []
    for number, count in enumerate(counts):
        clips.append(training.Clip(f"clip{number}", number, len(source), count))
        for frame in range(count):
            empty = {name: np.zeros(0, np.float32) for name in records.Frame._fields}
            camera = np.array([len(source), number], np.float32)
            source.append(empty | {"camera": camera, "frame": frame, "clip": b"name"})
    return training.Records("made_up", SIZES, tuple(clips), "", Memory(source))


class Memory(list):
    """Records that were never on a disk."""

    def read(self, number, names):
        return {name: self[number][name] for name in names}


def deal(data, count, **how):
    batches = training.pipeline(data, **({"frames": 2, "batch": 4, "seed": 5} | how))
    return [next(batches) for _ in range(count)]


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_records_of_the_papers_sizes_are_the_layouts_values_bit_for_bit(tmp_path):
    root = write_layout(tmp_path / "layout", {"a": 1, "b": 1}, side=512)
    found = training.open_records(build(tmp_path / "out", root, "paper"))
    found.check(settings.preset("paper"))
    stored = released.Released(root)
    assert len(found) == len(stored) == 2
    for number, frame in enumerate(stored):
        record = found[number]
        expected = prepared.prepare(frame, settings.preset("paper")).frame
        exact = {
            "image": frame.image,
            "matte": frame.head_matte[..., None],
            "uv_rgb": frame.uv_rgb,
            "uv_xy": frame.uv_xy_visible[..., :2],
            "uv_visible": frame.uv_xy_visible[..., 2:],
            "raster": np.asarray(expected.drive.raster)[0],
            "camera": frame.camera,
            "landmarks": frame.contours,
            "clip": "ab"[number],
            "frame": 0,
        }
        assert_same(record, exact)
        np.testing.assert_array_equal(record["uv_xy"], np.asarray(expected.uv_xy)[0])


def test_batches_hold_the_arrays_of_the_contract(built):
    (batch,) = deal(training.open_records(built), 1)
    found = {name: (values.shape[2:], values.dtype) for name, values in batch.items()}
    other = {name: found.pop(name) for name in list(found) if name.startswith("other_")}
    h, u, r = SIZES.image, SIZES.uv, SIZES.raster
    assert found == {
        "image": ((h, h, 3), np.uint8),
        "matte": ((h, h, 1), np.uint8),
        "uv_rgb": ((u, u, 3), np.uint8),
        "uv_xy": ((u, u, 2), np.float32),
        "uv_visible": ((u, u, 1), np.float32),
        "raster": ((r, r, 3), np.float32),
        "camera": ((25,), np.float32),
        "landmarks": ((h, h, 3), np.uint8),
        "clip": ((), np.int32),
        "frame": ((), np.int32),
    }
    assert all(values.shape[:2] == (4, 2) for n, values in batch.items() if n not in other)
    assert {name: batch[name].shape for name in other} == {
        "other_camera": (4, 25),
        "other_raster": (4, r, r, 3),
        "other_landmarks": (4, h, h, 3),
    }


def test_a_batch_holds_the_frames_that_it_names(built, layout):
    data, stored = training.open_records(built), released.Released(layout)
    for batch in deal(data, 3, frames=3):
        for row in np.ndindex(4, 3):
            clip = data.clips[batch["clip"][row]]
            frame = stored[clip.first + int(batch["frame"][row])]
            assert frame.name == f"{clip.name}/{batch['frame'][row]:05d}"
            np.testing.assert_array_equal(batch["camera"][row], frame.camera)
            small = released.resize_picture(frame.image, SIZES.image)
            np.testing.assert_array_equal(batch["image"][row], small)
        for row in range(4):
            (other,) = [r for r in map(data.__getitem__, data.numbers)
                        if (r["camera"] == batch["other_camera"][row]).all()]  # fmt: skip
            np.testing.assert_array_equal(batch["other_raster"][row], other["raster"])
            np.testing.assert_array_equal(batch["other_landmarks"][row], other["landmarks"])


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(("processes", "threads"), [(1, 4), (2, 1), (4, 4)])
def test_processes_and_threads_share_one_batch(built, frames, processes, threads):
    data = training.open_records(built)
    whole = deal(data, 4, frames=frames)
    parts = [
        deal(data, 4, frames=frames, process=(i, processes), threads=threads)
        for i in range(processes)
    ]
    for number, expected in enumerate(whole):
        assert_same(joined([part[number] for part in parts]), expected)


@pytest.mark.parametrize("position", [0, 1, 7])
def test_a_saved_position_goes_on_with_the_same_batches(position):
    data = made_up([3, 5, 4])
    expected = deal(data, position + 3)[position:]
    first = training.pipeline(data, frames=2, batch=4, seed=5, process=(1, 2))
    for _ in range(position):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    for threads in (1, 4):  # and in another number of processes than it was saved in
        again = training.pipeline(data, frames=2, batch=4, seed=5, threads=threads)
        again.set_state(state)
        for batch in expected:
            assert_same(next(again), batch)


def test_another_seed_gives_other_batches():
    data = made_up([3, 5, 4])
    assert (deal(data, 1)[0]["camera"] != deal(data, 1, seed=6)[0]["camera"]).any()


def test_every_photo_comes_once_an_epoch_in_changing_order():
    data = made_up([1] * 12)
    epochs = np.concatenate([b["camera"][:, 0, 0] for b in deal(data, 9, frames=1)]).reshape(3, 12)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(12))
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_frames_are_drawn_evenly_unsorted_and_with_replacement():
    data = made_up([4, 4])
    drawn = deal(data, 100, frames=4, batch=16)
    shown = np.concatenate([batch["camera"][..., 0] for batch in drawn])  # [1600 4]
    clips = np.concatenate([batch["camera"][..., 1] for batch in drawn])
    assert (clips == clips[:, :1]).all()
    np.testing.assert_allclose((clips[:, 0] == 0).mean(), 0.5, atol=1e-9)  # whole epochs
    counted = np.stack([[(shown[:, i] == n).mean() for n in range(8)] for i in range(4)])
    np.testing.assert_allclose(counted, 1 / 8, atol=0.035)  # 4 standard deviations
    distinct = np.mean([len(set(row)) == 4 for row in shown.tolist()])
    np.testing.assert_allclose(distinct, 24 / 256, atol=0.03)
    ascending = (np.diff(shown, axis=1) >= 0).all(1).mean()
    np.testing.assert_allclose(ascending, 35 / 256, atol=0.035)
    other = np.concatenate([batch["other_camera"][:, 0] for batch in drawn])
    np.testing.assert_allclose([(other == n).mean() for n in range(8)], 1 / 8, atol=0.035)
    np.testing.assert_allclose((other == shown[:, 0]).mean(), 1 / 8, atol=0.035)


def test_without_replacement_no_frame_comes_twice():
    data = made_up([4, 6])
    for batch in deal(data, 20, frames=4, replace=False):
        assert all(len(set(row)) == 4 for row in batch["camera"][..., 0].tolist())
    with pytest.raises(UserError, match="clip clip0 has 4 frames; 5 of them"):
        deal(data, 1, frames=5, replace=False)


@examples(max_examples=12, deadline=None)
@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    frames=st.sampled_from([1, 3]),
    share=st.floats(0, 0.99),
)
def test_what_is_held_out_is_never_trained_on(counts, frames, share):
    data = made_up(counts)
    held_out = int(share * len(counts))
    train, held = data.split(held_out)
    assert [clip.number for clip in (*train.clips, *held.clips)] == list(range(len(counts)))
    assert len(held.clips) == held_out and len(train) + len(held) == len(data)
    for batch in deal(train, 10, frames=frames):
        for name in ("camera", "other_camera"):
            assert batch[name][..., 1].max() < len(counts) - held_out
        np.testing.assert_array_equal(batch["clip"], batch["camera"][..., 1])
    if held_out:
        for batch in deal(held, 5, frames=frames):
            assert batch["clip"].min() >= len(counts) - held_out


@pytest.mark.parametrize("held_out", [-1, 3, 7])
def test_something_is_left_to_train_on(held_out):
    with pytest.raises(UserError, match="holds 3 clips"):
        made_up([1, 2, 3]).split(held_out)


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(UserError, match="batch of 6 does not divide among 4"):
        deal(made_up([3]), 1, batch=6, process=(0, 4))


def test_folders_without_a_data_set_are_named(built, tmp_path):
    with pytest.raises(UserError, match=r"There is no folder .*nowhere"):
        training.open_records(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no data set"):
        training.open_records(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(built, tmp_path / name)
    with pytest.raises(UserError, match=r"holds 2 data sets \(one, two\)"):
        training.open_records(tmp_path)


def test_records_of_another_model_are_refused(built):
    data = training.open_records(built)
    data.check(settings.preset("tiny_paper"))
    with pytest.raises(UserError, match=r"image 32 \(expected 512\), uv 32 \(expected 256\)"):
        data.check(settings.preset("paper"))
    with pytest.raises(UserError, match="reads the head's depth"):
        data.check(settings.preset("tiny"))


def spoil(path, start, count):
    with open(path, "r+b") as file:
        file.seek(start)
        found = file.read(count)
        file.seek(start)
        file.write(bytes(255 - byte for byte in found))


def test_a_damaged_record_is_named(built, tmp_path):
    copy = shutil.copytree(built, tmp_path / "data")
    (file,) = copy.glob("*.array_record*")
    spoil(file, 3000, 4000)
    data = training.open_records(copy)
    with pytest.raises(UserError, match=r"data: record \d+ is damaged"):
        for number in data.numbers.tolist():
            data[number]
    with pytest.raises(UserError, match="is damaged"):
        deal(data, 20)


def test_a_truncated_or_missing_file_is_named(built, tmp_path):
    copy = shutil.copytree(built, tmp_path / "data")
    (file,) = copy.glob("*.array_record*")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        training.open_records(copy)[0]
    file.unlink()
    with pytest.raises(UserError, match="damaged"):
        training.open_records(copy)[0]


@pytest.mark.parametrize("found", ["", "{}", '{"sizes": [1], "clips": []}'])
def test_metadata_that_lists_no_clips_is_refused(built, tmp_path, found):
    copy = shutil.copytree(built, tmp_path / "data")
    (copy / training.METADATA).write_text(found)
    with pytest.raises(UserError, match=r"metadata\.json lists no clips"):
        training.open_records(copy)


def test_metadata_of_other_records_is_refused(built, tmp_path):
    copy = shutil.copytree(built, tmp_path / "data")
    metadata = json.loads((copy / training.METADATA).read_text())
    metadata["clips"][0][1] += 1
    (copy / training.METADATA).write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=r"holds 12 records, but metadata\.json lists 13"):
        training.open_records(copy)


def test_the_fingerprint_is_the_datas_alone(built, layout, tmp_path):
    mine = training.open_records(built).fingerprint
    assert len(mine) == 64
    again = build(tmp_path / "again", layout, "tiny_paper")
    assert training.open_records(again).fingerprint == mine
    other = write_layout(tmp_path / "layout", CLIPS, side=40, seed=1)
    assert training.open_records(build(tmp_path / "b", other, "tiny_paper")).fingerprint != mine
    (file,) = again.glob("*.array_record*")
    spoil(file, 5, 1)
    assert training.open_records(again).fingerprint != mine


def test_rasters_are_sampled_at_the_models_window():
    """Each texel of a layout's raster holds its own place in the world."""
    size = released.SIDE
    at = lambda low, high: (low + (np.arange(size) + 0.5) / size * (high - low)) / 256 - 0.5
    y, x = np.meshgrid(at(57, 185), at(64, 192), indexing="ij")
    raster = np.stack([x, y, np.ones_like(x), np.ones_like(x)], -1).astype(np.float32)
    model = settings.preset("tiny_paper")
    wide = dataclasses.replace(model, raster_window=(20, 220, 30, 226), raster_resolution=33)
    for sizes in (SIZES, records.sizes_of(wide)):
        found = records.from_layout(noise_record(raster), sizes).raster
        top, bottom, left, right = sizes.window
        for i, j in np.ndindex(sizes.raster, sizes.raster):
            row = ((top + (i + 0.5) / sizes.raster * (bottom - top)) / 256 - 0.5) * sizes.box_warp
            column = left + (j + 0.5) / sizes.raster * (right - left)
            column = (column / 256 - 0.5) * sizes.box_warp
            inside = (57 / 256 <= row + 0.5 < 185 / 256) and (64 / 256 <= column + 0.5 < 192 / 256)
            assert found[i, j, 2] == inside
            if inside:
                error = np.abs(found[i, j, :2] - [column, row]).max()
                assert error <= 0.5 * 0.5 / size + 1e-6


def noise_record(raster=None, side=64):
    rng = np.random.default_rng(3)
    numbers = lambda *shape: rng.uniform(size=shape).astype(np.float32)
    return released.Record(
        "a/0",
        rng.integers(0, 256, (side, side, 3), np.uint8),
        numbers(25),
        numbers(256, 256, 4) if raster is None else raster,
        numbers(610),
        numbers(256, 256, 3).astype(np.float16).astype(np.float32),
        rng.integers(0, 256, (256, 256, 3), np.uint8),
        None,
        rng.integers(0, 256, (side, side), np.uint8),
    )


def test_smaller_uv_maps_are_those_that_the_networks_read_at_inference():
    record = noise_record()
    model = settings.preset("tiny_paper")
    maps = dataclasses.replace(model, raster_resolution=64)
    expected = prepared.prepare(record, maps, uv_mask := np.full((256, 256, 1), 0.5, np.float32))
    found = records.from_layout(record, SIZES, uv_mask)
    np.testing.assert_array_equal(found.uv_xy, np.asarray(expected.frame.uv_xy)[0])
    np.testing.assert_array_equal(found.uv_visible, np.asarray(expected.frame.uv_visible)[0])
    shown = np.round((np.asarray(expected.frame.uv_rgb)[0] + 1) * 127.5)
    np.testing.assert_array_equal(found.uv_rgb, shown)


def test_the_head_mask_goes_before_the_persons_and_nothing_is_black_alone():
    record = noise_record(side=SIZES.image)
    found = records.from_layout(record, SIZES)
    np.testing.assert_array_equal(found.matte[..., 0], record.matte)
    assert (found.landmarks == 0).all()
    head = record._replace(head_matte=255 - record.matte)
    np.testing.assert_array_equal(
        records.from_layout(head, SIZES).matte[..., 0], 255 - record.matte
    )
    assert (records.from_layout(record._replace(matte=None), SIZES).matte == 255).all()


def test_no_two_pictures_of_photos_are_one_clip(layout, tmp_path):
    data = training.open_records(build(tmp_path, layout, "tiny_paper", "ffhq"))
    assert [clip.count for clip in data.clips] == [1] * 12
    assert [clip.name for clip in data.clips][:4] == [f"anna/0000{i}" for i in range(3)] + [
        "bert/00000"
    ]


def test_clips_stay_whole_where_labels_mix_them(layout, tmp_path):
    root = shutil.copytree(layout, tmp_path / "layout")
    file = root / released.IMAGES / released.LABELS[1]
    labels = json.loads(file.read_text())["labels"]
    mixed = [labels[i] for i in np.random.default_rng(0).permutation(len(labels))]
    file.write_text(json.dumps({"labels": mixed}))
    data = training.open_records(build(tmp_path / "out", root, "tiny_paper"))
    assert collections.Counter({clip.name: clip.count for clip in data.clips}) == CLIPS
    for clip in data.clips:
        names = [data[clip.first + i]["clip"] for i in range(clip.count)]
        assert names == [clip.name] * clip.count


@pytest.mark.parametrize("name", ["ffhq", "celeba_hq", "vfhq", "hdtf"])
def test_builders_tell_what_they_hold(name, tmp_path):
    import importlib

    module = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder")
    info = module.Builder(config="paper", data_dir=tmp_path).info
    assert info.name == name and info.homepage.startswith("https://")
    assert info.description and info.citation.startswith("@inproceedings{")
    assert info.features["image"].shape == (512, 512, 3)


def test_a_build_that_fails_leaves_nothing_and_names_the_file(layout, tmp_path, capsys):
    from tfds_builders import command
    from tfds_builders.vfhq.vfhq_dataset_builder import Builder

    root = shutil.copytree(layout, tmp_path / "layout")
    (root / released.UVS / "cleo/00003.npy").unlink()
    out = tmp_path / "out"
    argv = ["--data", str(root), "--preset", "tiny", "--out", str(out)]
    assert command.main(Builder, argv) == USER_ERROR
    assert "There is no file" in (told := capsys.readouterr().err) and "cleo/00003.npy" in told
    assert not [path for path in out.rglob("*") if "array_record" in path.name]
    shutil.rmtree(root)
    shutil.copytree(layout, root)
    assert command.main(Builder, argv) == 0
    assert "12 records of 3 clips" in capsys.readouterr().out
    assert command.main(Builder, argv) == USER_ERROR
    assert "is there already" in capsys.readouterr().err
    argv[1] = str(tmp_path / "nowhere")
    assert command.main(Builder, [*argv[:-1], str(tmp_path / "other")]) == USER_ERROR
    assert "There is no folder" in capsys.readouterr().err
