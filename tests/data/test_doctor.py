"""The doctor finds every kind of fault that is planted, by its name and file, and no other."""

import inspect
import os
import shutil

import numpy as np
import pytest

from invertavatar_jax.cli import main as command_line
from invertavatar_jax.data import released
from invertavatar_jax.data.doctor import cameras
from invertavatar_jax.data.doctor.examine import check_names, examine
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import camera, faceverse
from tests.data import fault_table, faults
from tests.data.fault_kinds import KINDS


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    faults.write_clean(root)
    return root


def test_a_clean_data_set_has_no_fault(clean):
    examined = examine(clean)
    assert examined.faults == []
    assert (examined.clips, examined.frames) == (2, 6)


@pytest.fixture(scope="module")
def documented():
    return fault_table.rows(fault_table.DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words.replace(" ", "_"))
def test_a_fault_is_found_where_it_is_and_documented(clean, documented, tmp_path, kind):
    found = fault_table.spoil(clean, kind, tmp_path)
    assert (kind.check, kind.file) in {(fault.check, fault.file) for fault in found}
    assert {fault.check for fault in found} <= {kind.check, *kind.also}
    assert fault_table.rows(fault_table.row(kind, found))[0] in documented


def test_every_check_finds_some_planted_fault_and_the_table_has_no_other_row(documented):
    assert {kind.check for kind in KINDS} == set(check_names())
    assert len({kind.words for kind in KINDS}) == len(KINDS) == len(documented) - 1


@pytest.mark.parametrize("turn", [-0.5, 0.0, 0.4])
def test_released_cameras_which_scale_are_sound(turn):
    """Their 3 x 3 block is a rotation times a scale, and they see FaceVerse's fitted pose."""
    packed = np.zeros(faceverse.COUNT)
    packed[faceverse.SLICES["angles"]] = 0.1, turn, 0.05
    packed[faceverse.SLICES["scale"]] = 0.4
    seen = camera.to_vector(faceverse.camera(faceverse.split(packed))).astype(np.float64)
    for check in cameras.CHECKS:
        count = len(inspect.signature(check).parameters)
        assert check(*[seen] * count) is None


def test_photos_of_many_people_may_share_a_folder(clean, tmp_path):
    root = shutil.copytree(clean, tmp_path / "data", copy_function=os.link)
    for path in sorted(root.glob("*/anna/0*")):
        path.rename(path.with_name("img" + path.name))
    for file in released.LABELS:
        path = root / released.IMAGES / file
        text = path.read_text().replace("anna/", "anna/img")
        path.unlink()
        path.write_text(text)
    path = root / released.COEFFICIENTS / "anna/img00001.npy"
    other = np.load(path) + np.float32(1)
    for folder, ending in ((released.COEFFICIENTS, ""), (released.RASTERS, "_coeff")):
        path = root / folder / f"anna/img00001{ending}.npy"
        path.unlink()
        np.save(path, other)
    assert examine(root).faults == []


def test_a_folder_that_is_no_data_set_is_named(tmp_path):
    with pytest.raises(UserError, match="no folder images512x512"):
        examine(tmp_path)


def test_the_verb_tells_faults_and_fails(clean, tmp_path, capsys):
    assert command_line.main(["doctor", str(clean), "--device", "cpu"]) == 0
    assert "faults: 0" in capsys.readouterr().out
    root = tmp_path / "data"
    kind = next(kind for kind in KINDS if kind.words == "scale 0")
    fault_table.spoil(clean, kind, tmp_path)
    assert command_line.main(["doctor", str(root), "--json", "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert '"check": "coefficients_have_a_scale"' in said.out and kind.file in said.out
