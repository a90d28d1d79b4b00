"""Checkpoints are read as data: what is right comes out, and what is wrong is named."""

import io
import json
import pickletools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invertavatar_jax.convert import contents, opcodes, reader
from invertavatar_jax.errors import UserError
from tests.convert import hostile, pickles
from tests.convert.conftest import small_arrays, small_snapshot

ROOT = Path(__file__).parent.parent.parent


def read(folder: Path, data: bytes) -> dict[str, contents.Network]:
    path = folder / "file.pkl"
    path.write_bytes(data)
    return contents.networks(reader.read(path))


def refuse(folder: Path, data: bytes) -> str:
    with pytest.raises(UserError) as error:
        read(folder, data)
    return str(error.value)


FORMATS = {
    "protocol 2": lambda arrays: (small_snapshot(arrays, 2), "G"),
    "protocol 3": lambda arrays: (small_snapshot(arrays, 3), "G_ema"),
    "protocol 4": lambda arrays: (small_snapshot(arrays, 4), "G"),
    "tensor file": lambda arrays: (pickles.legacy_state_dict(arrays), ""),
    "archive": lambda arrays: (pickles.archive(pickles.archived_state_dict(arrays)), ""),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_back_its_arrays(tmp_path, arrays, name):
    data, key = FORMATS[name](arrays)
    got = read(tmp_path, data)[key].arrays
    assert set(got) == set(arrays)
    for array_name, expected in arrays.items():
        array = got[array_name].array()
        assert array.dtype == expected.dtype and array.shape == expected.shape
        assert array.tobytes() == expected.tobytes()


def test_parameters_and_buffers_are_told_apart(tmp_path, arrays):
    got = read(tmp_path, small_snapshot(arrays))["G"].arrays
    assert got["encoder.body.1.weight"].parameter
    assert not got["encoder.body.0.running_var"].parameter


def test_the_text_of_a_class_is_not_kept_and_its_arguments_are(tmp_path, arrays):
    network = read(tmp_path, small_snapshot(arrays))["G"]
    assert network.kind == "encoder_inversion.models.uvnet.inversionNet"
    assert network.classes["backbone.mapping"] == "MappingNetwork"
    assert network.arguments["backbone.mapping"]["kwargs"] == {"w_dim": 512}
    assert "SystemExit" not in json.dumps([network.arguments, network.attributes])


def test_views_of_one_storage_are_read_as_views(tmp_path):
    base = np.arange(12, dtype=np.float32)
    storage = pickles.storage_id(base, "0")
    build = pickles.Name("torch._utils", "_rebuild_tensor_v2")
    view = lambda offset, shape, strides: pickles.Call(
        build, (storage, offset, shape, strides, False, pickles.Call(pickles.ORDERED))
    )
    value = {"turned": view(0, (3, 4), (1, 3)), "part": view(5, (2, 2), (4, 1))}
    data = b"".join(bytes(part) for part in pickles.tensor_file(value, {"0": base}))
    got = read(tmp_path, data)[""].arrays
    assert (got["turned"].array() == base.reshape(4, 3).T).all()
    assert (got["part"].array() == [[5, 6], [9, 10]]).all()


def test_numbers_of_numpy_are_read(tmp_path):
    dtype = pickles.Call(pickles.Name("numpy", "dtype"), ("f8", False, True))
    half = np.float64(0.5).tobytes()
    scalar = pickles.Call(pickles.Name("numpy.core.multiarray", "scalar"), (dtype, half))
    path = tmp_path / "file.pkl"
    path.write_bytes(pickles.dumps({"gain": scalar}))
    assert reader.read(path).value == {"gain": 0.5}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80\x02cos\nsystem\n.", "byte 2: opcode GLOBAL names os.system"),
        (pickles.dumps(pickles.Name("os", "system")), "opcode STACK_GLOBAL names os.system"),
        (b"\x80\x02(ios\nsystem\n.", "byte 3: opcode INST is not allowed"),
        (b"\x80\x04N\x82\x07.", "byte 3: opcode EXT1 is not allowed"),
        (b"\x80\x04}\x94R.", "byte 4: opcode REDUCE takes a value that is not there"),
        (b"\x80\x04ctorch.nn\nLinear\n)R.", "calls torch.nn.Linear"),
        (b"\x80\x04X\xff\xff\xff\xffx.", "byte 2: opcode BINUNICODE declares 4294967295 bytes"),
        (b"hello", "byte 0: it is no pickle"),
    ],
)
def test_a_refusal_names_file_offset_and_opcode_or_name(tmp_path, data, said):
    text = refuse(tmp_path, data)
    assert said in text and str(tmp_path / "file.pkl") in text
    assert text.count(". ") == 0 and text.endswith(".")


def test_an_offset_inside_nested_files_counts_from_the_start(tmp_path):
    inner = pickles.dumps(pickles.Name("os", "system"), 2)
    parts = [pickles.dumps(value, 2) for value in (pickles.MAGIC, 1001, pickles.MACHINE)]
    load = pickles.Name("torch.storage", "_load_from_bytes")
    data = pickles.dumps({"G": pickles.Call(load, (b"".join(parts) + inner,))})
    offset = int(re.search(r"byte (\d+)", refuse(tmp_path, data))[1])  # pyright: ignore
    assert data[offset:].startswith(b"cos\nsystem\n")


def test_every_opcode_of_python_is_read_or_refused():
    known = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
    ours = opcodes.READ | opcodes.REFUSED
    assert len(ours) == len(opcodes.READ) + len(opcodes.REFUSED)
    assert ours == known


def test_the_corpus_is_refused_or_read_within_its_limits(tmp_path):
    """More than 500 hostile files, each in a process of its own, with an audit hook."""
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "experiments.hostile_files", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads(out.read_text())
    assert figures["files"] >= 500 and figures["crashed"] == 0
    assert figures["files"] == figures["read"] + figures["refused"]
    read_, of = figures["correct files read"].split(" of ")
    assert read_ == of and figures["left behind"] == []
    assert figures["peak_mb"] <= 256 and figures["longest_s"] <= 2


def test_the_watch_sees_code_that_runs(tmp_path):
    """The corpus would show it if a file ran something: here, Python's own reader does."""
    program = (
        "import sys, pickle\n"
        "from experiments import hostile_files\n"
        "sys.addaudithook(hostile_files._watch)\n"
        "try:\n"
        "    pickle.loads(b'\\x80\\x02cbuiltins\\neval\\nX\\x03\\x00\\x00\\x001+1\\x85R.')\n"
        "except hostile_files.Ran as error:\n"
        "    print('seen', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("seen"), done.stderr


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(FORMATS)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.floats(0, 1),
    put=st.tuples(st.floats(0, 1), st.binary(max_size=40)),
)
def test_a_changed_file_is_read_or_refused_in_one_sentence(
    tmp_path_factory, name, changes, cut, put
):
    data = bytearray(FORMATS[name](small_arrays())[0])
    for place, byte in changes:
        data[int(place * len(data))] = byte
    begin = int(put[0] * len(data))
    data[begin:begin] = put[1]
    whole = bytes(data[: int(cut * len(data))] if cut is not None else data)
    folder = tmp_path_factory.mktemp("changed")
    try:
        for network in read(folder, whole).values():
            for tensor in network.arrays.values():
                assert tensor.array().shape == tensor.shape
            network.check_size(reader.read(folder / "file.pkl"))
    except UserError as error:
        assert "\n" not in str(error) and str(folder) in str(error)


@settings(max_examples=200, deadline=None)
@given(body=st.lists(st.sampled_from([bytes([c]) for c in opcodes.READ]) | st.binary(max_size=6)))
def test_opcodes_in_any_order_are_read_or_refused(tmp_path_factory, body):
    folder = tmp_path_factory.mktemp("opcodes")
    try:
        read(folder, b"\x80\x04" + b"".join(body) + b".")
    except UserError as error:
        assert str(folder) in str(error)


def test_the_corpus_is_the_same_for_the_same_seed():
    first, again = (b"".join(d[:50] for _, d in hostile.corpus(3)) for _ in range(2))
    assert first == again


def test_a_written_snapshot_is_a_pickle_to_python_too(arrays):
    """The writer of these tests makes what Python's own tools accept."""
    data = small_snapshot(arrays)
    out = io.StringIO()
    pickletools.dis(data, out)
    assert "highest protocol among opcodes = 4" in out.getvalue()
