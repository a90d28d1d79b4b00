"""`avatar convert`: snapshots and files of torch.save in, weights and reports out."""

import io
import json

import numpy as np
import pytest

from invertavatar_jax import weights
from invertavatar_jax.cli import main as command_line
from invertavatar_jax.convert import reader
from tests.convert import pickles, snapshots

WIDTHS = {f"mlp.{2 * i}": (512 if i < 3 else 1, 512) for i in range(4)}


def draw(names: dict, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in names.items()}


def critic() -> dict[str, np.ndarray]:
    """The discriminator of latent codes: the smallest released network."""
    both = {f"{name}.weight": shape for name, shape in WIDTHS.items()}
    return draw(both | {f"{name}.bias": shape[:1] for name, shape in WIDTHS.items()})


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot of the e4e stage, of which only WD has arrays that are known."""
    arrays = critic()
    rows = [(name, True, lambda array=array: array) for name, array in arrays.items()]
    root = pickles.Name("encoder_inversion.models.e4e", "LatentCodesDiscriminator")
    made = snapshots.build(rows, snapshots.classes(root, {}))
    out = io.BytesIO()
    snapshots.write_snapshot(out, {"training_set_kwargs": {"resolution": 512}, "WD": made})
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(out.getvalue())
    return path, arrays


def run(capsys, *argv) -> dict:
    assert command_line.main(["convert", *map(str, argv), "--json", "--device", "cpu"]) == 0
    return json.loads(capsys.readouterr().out)


def refuse(capsys, *argv) -> str:
    assert command_line.main(["convert", *map(str, argv), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def test_a_snapshot_becomes_weights_and_goes_back_bit_for_bit(capsys, tmp_path, snapshot):
    path, arrays = snapshot
    out, back = tmp_path / "w.safetensors", tmp_path / "back.safetensors"
    told = run(capsys, path, "--out", out)
    assert told["recognised"] == "the discriminator of latent codes"
    assert told["check"]["fits"] is True and told["check"]["parameters"] == 788_481
    got, details = weights.load_network(out)
    assert details["network"] == "latent_discriminator"
    assert np.array_equal(got["params"]["mlp_0"]["weight"], arrays["mlp.0.weight"].T)
    told = run(capsys, out, "--released", "--out", back)
    assert told["arrays"] == len(arrays)
    found = reader.read(back).value
    for name, array in arrays.items():
        assert found[name].array().tobytes() == array.tobytes()
    assert run(capsys, back, "--check")["check"]["fits"] is True


def test_check_names_what_is_missing_and_what_differs(capsys, tmp_path):
    arrays = critic() | draw({"mlp.2.weight": (512, 511), "extra": (2,)})
    del arrays["mlp.4.bias"]
    path = tmp_path / "critic.pth"
    path.write_bytes(pickles.legacy_state_dict(arrays))
    told = run(capsys, path, "--check")["check"]
    assert told["fits"] is False
    assert told["missing"] == ["mlp.4.bias"] and told["unexpected"] == ["extra"]
    assert told["other shapes"] == ["mlp.2.weight: [512, 511], expected [512, 512]"]
    out = tmp_path / "w.safetensors"
    assert "1 arrays are missing and 1 have other shapes" in refuse(capsys, path, "--out", out)
    assert not out.exists()


def test_half_precision_becomes_float32(capsys, tmp_path):
    arrays = {name: array.astype(np.float16) for name, array in critic().items()}
    path, out = tmp_path / "critic.pth", tmp_path / "w.safetensors"
    path.write_bytes(pickles.archive(pickles.archived_state_dict(arrays)))
    run(capsys, path, "--out", out)
    got = weights.load_network(out)[0]["params"]["mlp_6"]["bias"]
    assert got.dtype == np.float32 and np.array_equal(got, arrays["mlp.6.bias"])


def test_a_network_that_has_no_place_here_keeps_its_names(capsys, tmp_path):
    arrays = draw({"Conv2d_1a_3x3.conv.weight": (8, 3, 3, 3), "fc.bias": (5,)})
    path, out = tmp_path / "inception.pth", tmp_path / "w.safetensors"
    path.write_bytes(pickles.archive(pickles.archived_state_dict(arrays)))
    assert run(capsys, path, "--out", out)["recognised"] == "unknown: kept as it is named"
    found = reader.read(out).value
    for name, array in arrays.items():
        assert found[name].array().tobytes() == array.tobytes()


def test_heads_of_lpips_go_there_and_back_under_their_own_names(capsys, tmp_path):
    widths = (64, 192, 384, 256, 256)
    arrays = draw({f"lin{i}.model.1.weight": (1, n, 1, 1) for i, n in enumerate(widths)})
    path, out, back = (tmp_path / name for name in ("a.pth", "a.safetensors", "b.safetensors"))
    path.write_bytes(pickles.legacy_state_dict(arrays))
    assert run(capsys, path, "--check", "--out", out)["check"]["fits"] is True
    run(capsys, out, "--released", "--out", back)
    found = reader.read(back).value
    assert {name for name in found if name != "__metadata__"} == set(arrays)


def test_inspect_lists_arrays_classes_and_arguments(capsys, snapshot):
    content = run(capsys, snapshot[0], "--inspect")["content"]
    network = content["networks"]["WD"]
    assert network["arrays"]["mlp.6.weight"] == "float32 [1, 512]"
    assert network["class"].endswith("LatentCodesDiscriminator")
    assert network["parameters"] == 788_481
    assert content["other values"] == {"training_set_kwargs": {"resolution": 512}}


def test_a_file_that_calls_something_is_refused_with_its_name(capsys, tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickles.dumps(pickles.Call(pickles.Name("os", "system"), ("true",))))
    said = refuse(capsys, path, "--inspect")
    assert "bad.pkl is refused at byte" in said and "names os.system" in said


def test_wrong_use_is_told(capsys, snapshot, tmp_path):
    path = snapshot[0]
    assert "nothing to do" in refuse(capsys, path)
    assert "ends in .safetensors" in refuse(capsys, path, "--out", tmp_path / "w.bin")
    assert "holds WD" in refuse(capsys, path, "--check", "--network", "G")
    assert "There is no file" in refuse(capsys, tmp_path / "none.pkl", "--inspect")
    assert "--released needs --out" in refuse(capsys, path, "--released", "--check")
    same = tmp_path / "same.safetensors"
    same.write_bytes(path.read_bytes())
    assert "is the file to be read" in refuse(capsys, same, "--out", same)
