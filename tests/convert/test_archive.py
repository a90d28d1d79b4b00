"""Archives: those of other writers are read, and large ones have their own directory."""

import io
import struct
import zipfile

import numpy as np
import pytest

from invertavatar_jax.convert import archive, reader
from invertavatar_jax.convert.values import Refused
from tests.convert import pickles
from tests.convert.conftest import small_arrays


def test_an_archive_of_pythons_own_writer_is_read():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("m/data.pkl", b"N.")
        opened.writestr("m/data/0", b"1234")
    found = archive.entries(memoryview(out.getvalue()))
    assert {name: bytes(entry.check().view) for name, entry in found.items()} == {
        "m/data.pkl": b"N.",
        "m/data/0": b"1234",
    }


def test_python_reads_the_archives_of_these_tests():
    entries = pickles.archived_state_dict(small_arrays())
    with zipfile.ZipFile(io.BytesIO(pickles.archive(entries))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [entry.name for entry in entries]


def large(data: bytes, *, shift: int = 0, plain: int | None = None) -> bytes:
    """The same archive with the directory that archives of 4 GiB and more have.

    Args:
        plain: what the plain directory's length is off by; None: it refers to the large one.
    """
    count, _, length, start, _ = struct.unpack("<2H2LH", data[-14:])
    end64 = len(data) - 22
    record = struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, length, start)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, end64 + shift, 1)
    last = struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    if plain is not None:
        last = struct.pack("<4H2LH", 0, 0, count, count, length + plain, start, 0)
    return data[:-22] + b"PK\x06\x06" + record + locator + b"PK\x05\x06" + last


def test_a_small_archive_with_both_directories_as_torch_writes_it_is_read():
    data = pickles.archive(pickles.archived_state_dict(small_arrays()))
    both = archive.entries(memoryview(large(data, plain=0)))
    assert list(both) == list(archive.entries(memoryview(data)))
    with pytest.raises(Refused, match="two directories differ"):
        archive.entries(memoryview(large(data, plain=1)))


@pytest.mark.slow  # needs requirements-bench.txt
def test_what_torch_saves_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    torch.save({"a": torch.from_numpy(array)}, tmp_path / "saved.pth")
    read = reader.read(tmp_path / "saved.pth")
    assert read.layout == "torch archive"
    np.testing.assert_array_equal(read.value["a"].array(), array)


def test_a_large_directory_says_the_same():
    data = pickles.archive(pickles.archived_state_dict(small_arrays()))
    small, big = (archive.entries(memoryview(d)) for d in (data, large(data)))
    assert list(small) == list(big)
    with zipfile.ZipFile(io.BytesIO(large(data))) as opened:
        assert opened.namelist() == list(big)
    with pytest.raises(Refused, match="not where it should be"):
        archive.entries(memoryview(large(data, shift=1)))


def test_sizes_and_places_of_large_entries_come_from_their_extra_field():
    values = struct.pack("<2H3Q", 1, 24, 5 * 2**32, 5 * 2**32, 6 * 2**32)
    full = 2**32 - 1
    got = archive._large(b"FB\x02\x00ZZ" + values, full, full, full, 0)
    assert got == (5 * 2**32, 5 * 2**32, 6 * 2**32)
    assert archive._large(struct.pack("<2HQ", 1, 8, 2**33), 7, 7, full, 0) == (7, 7, 2**33)
    with pytest.raises(Refused, match="no large sizes"):
        archive._large(values[:20], full, full, full, 0)


def test_every_entry_is_checked_by_its_sum():
    data = bytearray(pickles.archive([pickles.Entry("m/data/0", b"1234")]))
    data[data.index(b"1234")] ^= 1
    entry = archive.entries(memoryview(bytes(data)))["m/data/0"]
    with pytest.raises(Refused, match="fails its checksum"):
        entry.check()


def test_an_array_spans_its_entry_without_a_copy():
    array = np.arange(6, dtype=np.float32)
    data = pickles.archive([pickles.Entry("m/data/0", array.tobytes())])
    view = memoryview(data)
    blob = archive.entries(view)["m/data/0"].data
    assert bytes(view[blob.offset : blob.offset + 24]) == array.tobytes()
    assert blob.view.obj is data
