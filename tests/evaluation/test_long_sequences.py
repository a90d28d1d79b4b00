"""The long-sequence study: its smallest run, and the pieces that its numbers rest on."""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.determinism.child import Child
from experiments.evaluation import footage
from experiments.evaluation.line_up import draw_weights
from experiments.long_sequences import __main__ as command
from experiments.long_sequences import gates, memory, order, scans, streaming
from experiments.long_sequences.parts import PARTS
from experiments.long_sequences.people import Person
from experiments.long_sequences.study import Sitting, State
from experiments.long_sequences.systems import System
from invertavatar_jax import frames, inversion, networks, settings, weights
from invertavatar_jax.aggregate import conv_gru
from invertavatar_jax.compile import hlo
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import morphable
from invertavatar_jax.frames import Prepared
from invertavatar_jax.types import Frame

LATER = "scans"  # the part that is added to the others
# a process of its own, which compiles everything once more: see the slow test
SHOWN = [name for name in PARTS if name != "stream"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long_sequences")
    first = ",".join(name for name in SHOWN if name != LATER)
    command.main(["--smoke", "--out", str(folder), "--parts", first])
    command.main(["--smoke", "--out", str(folder), "--parts", LATER])
    return folder


@pytest.fixture(scope="module")
def rows(out):
    found = json.loads((out / "long_sequences.json").read_text())["rows"]
    return {name: [row for row in found if row["part"] == name] for name in SHOWN}


def test_every_part_has_rows_and_an_answer(out, rows):
    result = json.loads((out / "long_sequences.json").read_text())
    assert set(result["parts"]) == set(SHOWN) and result["manifest"]["packages"]["jax"]
    for name, found in rows.items():
        assert found, name
        assert result["parts"][name]["answer"].endswith(".")


def test_the_page_needs_no_network_and_shows_every_part(out):
    text = (out / "long_sequences.html").read_text()
    pictures = re.findall(r'src="([^"]{20})', text)
    assert len(pictures) == len(SHOWN)
    assert all(one.startswith("data:image/png") for one in pictures)
    assert "http" not in text and text.count("Not run") == len(PARTS) - len(SHOWN)


@pytest.mark.slow
def test_a_stream_does_not_grow(tmp_path):
    command.main(["--smoke", "--out", str(tmp_path), "--parts", "stream"])
    result = json.loads((tmp_path / "long_sequences.json").read_text())
    assert "within the 16 MiB" in result["parts"]["stream"]["answer"]


def test_quality_has_every_system_person_and_number(rows):
    seen = {(row["system"], row["person"], row["frames"]) for row in rows["quality"]}
    assert len(seen) == len(rows["quality"]) == len(command.IN_SMOKE) * 2 * 2
    assert all(0 < row["psnr"] < 60 and 0 < row["l1"] < 1 for row in rows["quality"])


def test_a_mean_of_windows_does_not_move_when_a_frame_is_repeated(rows):
    moved = {(r["system"], r["person"], r["repeats"]): r["moved"] for r in rows["repeated"]}
    people = {person for _, person, _ in moved}
    assert all(moved["att_fusion", person, 4] < 1e-4 for person in people)
    assert all(moved["conv_gru", person, 4] > 0.05 for person in people)


def test_what_devices_exchange_does_not_depend_on_the_number_of_frames(rows):
    assert [row["frames"] for row in rows["devices"]] == [8, 16]
    for row in rows["devices"]:
        assert row["moved_bytes"] == rows["devices"][0]["moved_bytes"] > 0
        assert row["value_difference"] <= 1e-5 and row["gradient_difference"] <= 1e-5


def test_steps_in_turn_are_as_deep_as_the_clip_is_long(rows):
    depths = {(r["system"], r["way"], r["frames"]): r["depth"] for r in rows["scans"]}
    assert depths["conv_gru", "in turn", 16] > 1.9 * depths["conv_gru", "in turn", 8]
    assert depths["min_conv_gru", "at once", 16] < 1.5 * depths["min_conv_gru", "at once", 8]


def test_a_result_of_other_weights_is_not_added_to(out, tmp_path):
    result = json.loads((out / "long_sequences.json").read_text())
    result["systems"]["conv_gru"] = "weights 0123456789abcdef"
    (tmp_path / "long_sequences.json").write_text(json.dumps(result))
    options = command.parse(["--smoke", "--out", str(tmp_path)])
    known = {"att_fusion": command.RANDOM, "conv_gru": command.RANDOM}
    with pytest.raises(UserError, match="0123456789abcdef"):
        command.read_before(options, result["data"], known)
    del known["conv_gru"]
    assert command.read_before(options, result["data"], known) == result


def test_rows_of_other_systems_stay():
    row = lambda part, system, value: {"part": part, "system": system, "psnr": value}
    rows = [row("order", "att_fusion", 1), row("quality", "att_fusion", 2)]
    rows += [row("quality", "diagonal", 3), {"part": "stream", "frames": 4}]
    made = {"rows": rows, "parts": {name: {"seconds": 7.0} for name in PARTS}}
    new = [row("quality", "diagonal", 5), row("quality", "conv_gru", 6)]
    found, others, earlier = command.add(made, "quality", new)
    assert found == [new[1], new[0], rows[1]]  # in the order of settings.AGGREGATORS
    assert others == [rows[0], rows[3]] and earlier == 7.0
    streamed = [{"part": "stream", "frames": 8}]
    assert command.add(made, "stream", streamed) == (streamed, rows[:3], 0.0)


@pytest.mark.parametrize("option", ["--parts", "--systems"])
def test_unknown_names_are_refused(option, tmp_path):
    with pytest.raises(UserError, match="expected some of"):
        command.parse(["--out", str(tmp_path), option, "wrong"])


def test_systems_without_weights_are_not_trained(tmp_path):
    options = command.parse(["--out", str(tmp_path), "--systems", "conv_gru,diagonal"])
    systems, _, missing = command.open_systems(options)
    assert set(systems) == {"conv_gru"} and "not trained" in missing["diagonal"]
    options.weights_dir = tmp_path
    with pytest.raises(UserError, match="for a system"):
        command.open_systems(options)


def test_weights_are_read_from_the_folder(tmp_path):
    sizes = settings.preset("tiny_diagonal")
    weights.save(tmp_path / "diagonal.safetensors", draw_weights(sizes), sizes, {})
    given = ["--out", str(tmp_path), "--weights-dir", str(tmp_path), "--systems"]
    systems, about, missing = command.open_systems(command.parse([*given, "window,diagonal"]))
    assert systems["diagonal"].sizes == sizes and about["diagonal"].startswith("weights ")
    assert "not trained" in missing["window"]
    (tmp_path / "diagonal.safetensors").rename(tmp_path / "window.safetensors")
    with pytest.raises(UserError, match="with the aggregator window"):
        command.open_systems(command.parse([*given, "window"]))


def test_orders_are_of_the_same_frames_and_begin_with_the_first():
    found = order.orders(8, 5, seed=0)
    assert len(found) == 8
    for numbers in found.values():
        assert numbers[0] == 0 and sorted(numbers) == list(range(8))
    assert found["interleaved"] == [0, 2, 4, 6, 1, 3, 5, 7]
    assert len({tuple(numbers) for numbers in found.values()}) == 8


def test_the_update_gate_is_the_part_of_the_memory_that_a_frame_replaces():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    gate = lambda out: {"weight": draw(3, 3, 4, out), "bias": draw(out)}
    given = {"ih_0": gate(4), "hh_0": gate(2)}
    before, frame = 5 * draw(1, 4, 4, 2), draw(1, 4, 4, 2)
    z = gates.UPDATES["conv_gru"](given, before, frame)
    candidate = (conv_gru.update(given, before, frame) - (1 - z) * before) / z
    open_enough = z > 1e-2
    assert open_enough.any() and float(jnp.abs(candidate)[open_enough].max()) <= 1 + 1e-3


def test_depth_counts_a_loop_as_often_as_it_runs():
    text = """HloModule m

body (p: (s32[], f32[2])) -> (s32[], f32[2]) {
  p = (s32[], f32[2]) parameter(0)
  i = s32[] get-tuple-element(p), index=0
  x = f32[2] get-tuple-element(p), index=1
  s = f32[2] sine(x)
  c = f32[2] cosine(s)
  ROOT t = (s32[], f32[2]) tuple(i, c)
}

test (p: (s32[], f32[2])) -> pred[] {
  p = (s32[], f32[2]) parameter(0)
  ROOT yes = pred[] constant(true)
}

ENTRY main (a: (s32[], f32[2])) -> f32[2] {
  a = (s32[], f32[2]) parameter(0)
  w = (s32[], f32[2]) while(a), condition=test, body=body, backend={"known_trip_count":{"n":"7"}}
  x = f32[2] get-tuple-element(w), index=1
  ROOT n = f32[2] negate(x)
}
"""
    assert scans.depth(hlo.parse(text)) == 2 * 7 + 1


@pytest.fixture
def frame():
    """A frame whose UV map lies on its photo; the left half is unseen."""
    line = (np.arange(16) + 0.5) / 8 - 1
    xy = np.stack(np.meshgrid(line, line), -1)[None].astype(np.float32)
    visible = np.ones((1, 16, 16, 1), np.float32)
    visible[:, :, :8] = 0
    grey = jnp.full((1, 16, 16, 3), 0.5)
    fields = dict.fromkeys(Frame._fields) | {"image": grey, "uv_rgb": grey}
    made = Frame(**fields | {"uv_xy": jnp.asarray(xy), "uv_visible": jnp.asarray(visible)})
    return Prepared(made, None, np.zeros(3, np.float32))


def test_the_patch_is_where_the_map_is_seen(frame):
    patch = memory.Patch.choose(frame.frame.uv_visible)
    assert patch.inside.sum() == (16 // memory.SHARE) ** 2
    assert np.asarray(frame.frame.uv_visible)[0, ..., 0][patch.inside].all()


def test_paint_and_cover_change_the_patch_alone(frame):
    patch = memory.Patch.choose(frame.frame.uv_visible)
    old, painted, covered = (x.frame for x in (frame, patch.paint(frame), patch.cover(frame)))
    changed = lambda name, new: np.any(np.asarray(getattr(new, name) != getattr(old, name))[0], -1)
    for new in painted, covered:
        for name in "image", "uv_rgb":
            np.testing.assert_array_equal(changed(name, new), patch.inside)
    assert not changed("uv_visible", painted).any()
    np.testing.assert_array_equal(changed("uv_visible", covered), patch.inside)


class Leak:
    """Keeps a quarter of a MiB of every frame."""

    def __init__(self):
        self.kept = []

    def observe(self, stream, seen):
        self.kept.append(np.ones(2**15))
        return stream


def leak():
    return streaming.stream(Leak(), [None], 300)


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read as on Linux")
def test_a_stream_that_grows_is_seen_to_grow():
    rows = Child(leak).join().answer  # here, what other tests have freed would be used again
    assert [row["frames"] for row in rows] == [200, 300]
    assert 40 < rows[-1]["growth_mib"] < 60 and rows[-1]["compilations_later"] == 0
    assert "above the 16 MiB" in streaming.answer(rows)
    with pytest.raises(ValueError, match="more than 100"):
        streaming.stream(Leak(), [None], 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv_gru", "window", "att_fusion"])
def test_frame_by_frame_gives_the_package_s_avatar(name, out):
    """Four frames, which are a window of three and one more where there are windows."""
    sizes = settings.with_aggregator(settings.preset("tiny"), name)
    drawn = draw_weights(sizes)
    (folder,) = out.glob("people_*")
    geometry = frames.geometry(morphable.load_head_model(), sizes)
    clip = footage.synthetic(folder, sizes.renderer.image_resolution)[0]
    person = Person(clip, geometry, moments=3, held_out=1, seed=0)
    sitting, state = Sitting(System(name, sizes, drawn), person), State()
    for number in range(4):
        state = sitting.fold(state, number)
    maps, _ = sitting.maps(state)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *[person.frame(i).frame for i in range(4)])
    nets = networks.build(sizes)
    whole = jax.jit(lambda weights, seen: inversion.reconstruct(nets, weights, sizes, seen))
    memory, expected = whole(drawn, stacked)
    for got, wanted in ((maps, expected), (state.colours, memory.colours)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), got, wanted)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), maps, memory.coarse)
    assert max(jax.tree.leaves(moved)) > 0.05


def test_means_are_over_people():
    assert jax.tree.leaves(order.spreads([])) == []
    some = [
        {"system": "a", "person": p, "psnr": x} for p, x in (("p", 1.0), ("p", 3.0), ("q", 7.0))
    ]
    assert [row["range"] for row in order.spreads(some)] == [2.0, 0.0]
