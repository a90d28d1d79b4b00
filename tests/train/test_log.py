"""The log of a run: every step once, no waiting, nothing that is not finite."""

import errno
import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image

from invertavatar_jax.errors import UserError
from invertavatar_jax.train import events, log, rows

FLOPS = 3e9


def open_log(folder, start=0, **options):
    options = {"stage": "gan", "images_per_step": 8, "progress": False, "log_every": 4} | options
    return log.Log(folder, 100, start, **options)


def add(to, steps, **others):
    for step in steps:
        to.add(step, {"loss": jnp.float32(step), **others}, FLOPS)


def logged_steps(folder):
    """Every step that a line of training counts."""
    rows = [row for row in log.read(folder) if "steps" in row]
    return [s for row in rows for s in range(row["step"] - row["steps"] + 1, row["step"] + 1)]


def test_a_line_is_the_mean_of_the_steps_since_the_line_before(tmp_path):
    with open_log(tmp_path) as to:
        add(to, range(1, 9))
    rows = log.read(tmp_path)
    assert [(row["step"], row["steps"], row["loss"]) for row in rows] == [
        (1, 1, 1.0),  # alone, since it waits for the compiler
        (4, 3, 3.0),
        (8, 4, 6.5),
    ]
    assert "first_step_seconds" in rows[0] and "seconds_per_step" not in rows[0]
    seconds = rows[2]["seconds_per_step"]
    assert rows[2]["images_per_second"] == pytest.approx(8 / seconds)
    assert rows[2]["gflops_per_second"] == pytest.approx(FLOPS / seconds / 1e9)


def test_a_metric_of_some_steps_is_averaged_over_those(tmp_path):
    with open_log(tmp_path) as to:
        add(to, [1])
        add(to, [2], **{"Dreg/r1": jnp.float32(5.0)})
        add(to, [3, 4])
    assert log.read(tmp_path)[-1]["Dreg/r1"] == 5.0


class _OnDevice:
    """A metric that tells when it is read."""

    def __init__(self, read):
        self.read = read

    def __array__(self, *_, **__):
        self.read.append(self)
        return np.float32(1)


def test_metrics_stay_on_the_device_between_lines(tmp_path):
    read = []
    with open_log(tmp_path) as to:
        counts = [
            to.add(step, {"loss": _OnDevice(read)}, FLOPS) or len(read) for step in range(1, 6)
        ]
    assert counts == [1, 1, 1, 4, 4] and len(read) == 5


def test_a_resumed_log_has_every_step_once(tmp_path):
    with open_log(tmp_path) as to:
        add(to, range(1, 7))
        to.flush()  # a checkpoint of step 6
        to.write(6, {"psnr": 20.0}, prefix="held_out/")
        add(to, range(7, 11))
    with (tmp_path / log.FILE).open("a") as file:
        file.write('{"step": 11, "lo')  # torn by a kill
    with open_log(tmp_path, start=6) as to:
        add(to, range(7, 13))
    assert logged_steps(tmp_path) == list(range(1, 13))
    assert [row["step"] for row in log.read(tmp_path) if "held_out/psnr" in row] == [6]
    for line in (tmp_path / log.FILE).read_text().splitlines():
        json.loads(line)


def test_a_run_killed_before_its_first_checkpoint_begins_a_new_log(tmp_path):
    with open_log(tmp_path) as to:
        to.write(0, {"psnr": 10.0}, prefix="held_out/")
        add(to, [1, 2])
    with open_log(tmp_path) as to:
        add(to, [1])
    assert logged_steps(tmp_path) == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stops_the_run_and_is_named(tmp_path, bad):
    with pytest.raises(log.NonFinite, match=rf"stage gan, step 3: Gmain/loss = {bad}"):
        with open_log(tmp_path) as to:
            add(to, [1, 2])
            to.add(3, {"Gmain/loss": jnp.float32(bad), "loss": jnp.float32(3)}, FLOPS)
            to.flush()
    assert logged_steps(tmp_path) == [1, 2]  # the good steps before it are told


def test_a_process_that_does_not_write_stops_too(tmp_path):
    with pytest.raises(log.NonFinite), open_log(tmp_path / "none", is_main=False) as to:
        to.write(1, {"loss": 1.0})
        to.add(1, {"loss": jnp.float32(np.nan)}, FLOPS)
    assert not (tmp_path / "none").exists()


def test_a_held_out_number_that_is_not_finite_is_null(tmp_path):
    with open_log(tmp_path) as to:
        to.write(5, {"psnr": float("inf"), "l1": 0.0}, prefix="held_out/")
    assert log.read(tmp_path) == [{"step": 5, "held_out/psnr": None, "held_out/l1": 0.0}]


def test_time_in_a_pause_counts_as_no_steps(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    with open_log(tmp_path) as to:
        add(to, [1])
        now[0] += 2
        add(to, [2])
        with to.paused():
            now[0] += 1000
        now[0] += 6
        add(to, [3, 4])
    rows = log.read(tmp_path)
    assert [row.get("seconds_per_step") for row in rows] == [None, 2.0, 3.0]


def test_the_rate_is_a_share_of_a_known_peak_and_no_peak_is_invented():
    known = log.peak_flops("NVIDIA H100 80GB HBM3", "bfloat16")
    assert known == 989.4e12
    rates = log.Work(images=4, flops=known / 2, peak_flops_per_s=known).rates(2.0)
    assert rates["utilisation"] == pytest.approx(0.25)
    assert log.peak_flops("cpu", "float32") is None
    rates = log.Work(images=4, flops=3e9, peak_flops_per_s=None).rates(2.0)
    assert rates == {
        "seconds_per_step": 2.0,
        "images_per_second": 2.0,
        "gflops_per_second": pytest.approx(1.5),
    }


class _FullDisk:
    name = "RUN/log.jsonl"

    def __init__(self, room):
        self.room, self.data = room, b""

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        self.data += taken
        return len(taken)


def test_a_full_disk_is_one_sentence():
    with pytest.raises(UserError, match=r"RUN/log.jsonl was not written: No space left"):
        rows.append_bytes(_FullDisk(room=5), b"0123456789")
    roomy = _FullDisk(room=10)
    rows.append_bytes(roomy, b"0123456789")
    assert roomy.data == b"0123456789"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "tensorboard").write_text("a file is in the way")
    with pytest.raises(UserError, match=r"tensorboard.* was not written: File exists"):
        open_log(tmp_path)


# TensorBoard's messages, as far as they are written: name, number, type (1 double, 2 float,
# 3 int64, 5 int32, 9 string, 11 message, 12 bytes, 14 taken as 5: an enumeration)
_MESSAGES = {
    "SessionLog": [("status", 1, 5)],
    "Image": [("height", 1, 5), ("width", 2, 5), ("colorspace", 3, 5), ("encoded", 4, 12)],
    "Value": [("tag", 1, 9), ("simple_value", 2, 2), ("image", 4, "Image")],
    "Summary": [("value", 1, "Value")],
    "Event": [
        ("wall_time", 1, 1),
        ("step", 2, 3),
        ("file_version", 3, 9),
        ("summary", 5, "Summary"),
        ("session_log", 7, "SessionLog"),
    ],
}


@pytest.fixture(scope="module")
def event_class():
    file = descriptor_pb2.FileDescriptorProto(name="events_of_test.proto", package="board")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            inner = {"type": 11, "type_name": f".board.{kind}"} if isinstance(kind, str) else {}
            label = 3 if field == "value" else 1
            message.field.add(name=field, number=number, label=label, **{"type": kind} | inner)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("board.Event"))


def unframe(data):
    """Records of a TFRecord file; checks lengths and the checksum of each part."""
    masked = lambda x: ((events.crc32c(x) >> 15 | events.crc32c(x) << 17) + 0xA282EAD8) % 2**32
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        record = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked(record)
        yield record
        data = data[16 + length :]


def test_the_checksum_is_that_of_rfc_3720():
    assert events.crc32c(bytes(32)) == 0x8A9136AA
    assert events.crc32c(bytes(range(32))) == 0x46DD794E
    assert events.crc32c(b"123456789") == 0xE3069283


def test_tensorboard_gets_scalars_and_pictures(tmp_path, event_class):
    picture = np.arange(5 * 300 * 3).reshape(5, 300, 3).astype(np.uint8)
    with open_log(tmp_path, start=300) as to:
        to.write(301, {"loss": 0.25, "psnr": np.nan}, prefix="held_out/")
        to.image(301, "grid", picture)
    (path,) = (tmp_path / "tensorboard").iterdir()
    version, start, numbers, shown = map(event_class.FromString, unframe(path.read_bytes()))
    assert version.file_version == "brain.Event:2"
    assert start.step == 301 and start.session_log.status == 1  # hides later lines of before
    assert [(v.tag, v.simple_value) for v in numbers.summary.value] == [("held_out/loss", 0.25)]
    assert numbers.step == 301 and 1.7e9 < numbers.wall_time < 1e10
    png = tmp_path / "images" / "grid_00000301.png"
    image = shown.summary.value[0].image
    assert (image.height, image.width, image.encoded) == (5, 300, png.read_bytes())
    np.testing.assert_array_equal(np.asarray(Image.open(png)), picture)
