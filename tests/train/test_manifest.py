"""The manifest of a run: what it was started with, and what has changed since."""

import json
import subprocess

import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.train import manifest


def make(config=None, **changes):
    made = manifest.make_manifest(
        config or {"stage": "gan", "rate": 0.002, "losses": {"l1": 1.0}, "sizes": (1, 2)},
        data_fingerprint={"sha256": "ab", "frames": 12},
        mesh_shape={"data": 8, "model": 1},
        seeds={"run": 3},
    )
    return made | changes


def test_a_manifest_tells_what_a_result_depends_on(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS_OF_TEST", "x")
    monkeypatch.setenv("SECRET_TOKEN", "not for a manifest")
    made = make()
    assert made["packages"].keys() == {
        *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    }
    assert made["devices"]["count"] >= 1 and made["processes"] == 1
    assert made["environment"]["XLA_FLAGS_OF_TEST"] == "x"
    assert "not for a manifest" not in json.dumps(made)
    assert (made["mesh"], made["seeds"]) == ({"data": 8, "model": 1}, {"run": 3})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invertavatar_jax/__main__.py", "./avatar"),
        ("experiments/figure6.py", "./avatar python -m experiments.figure6"),
        ("experiments/long_sequences/__main__.py", "./avatar python -m experiments.long_sequences"),
        ("/elsewhere/mine.py", "python /elsewhere/mine.py"),
    ],
)
def test_the_command_is_told_as_it_is_typed(monkeypatch, name, expected):
    path = manifest._package().parent / name  # an absolute name stays as it is
    monkeypatch.setattr("sys.argv", [str(path), "--out", "a b"])
    assert make()["command"] == f"{expected} --out 'a b'"


def test_the_commit_is_that_of_the_checkout():
    root = manifest._package().parent
    told = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if told.returncode:
        pytest.skip("not a git checkout")
    assert make()["code"]["commit"] == told.stdout.strip()


def test_an_edited_source_file_changes_the_hash_of_the_sources(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(manifest, "_package", lambda: tmp_path)
    before = manifest._sources_sha256()
    (tmp_path / "a.py").write_text("x = 2\n")
    edited = manifest._sources_sha256()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({before, edited, manifest._sources_sha256()}) == 3


def test_the_config_hash_does_not_depend_on_order_or_on_tuples():
    left = make({"a": 1, "b": {"c": (1, 2), "d": None}})
    right = make({"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert left["config_sha256"] == right["config_sha256"]
    assert left["config_sha256"] != make({"a": 1, "b": {"c": [1, 3], "d": None}})["config_sha256"]


def test_a_start_that_changes_nothing_differs_in_nothing():
    assert manifest.compare(make(), make(started="another time", command="in other words")) == []


def test_a_changed_setting_is_told_in_a_sentence():
    old = make({"rate": 0.002, "losses": {"l1": 1.0}, "old": 1})
    new = make({"rate": 0.002, "losses": {"l1": 0.5}, "new": "x"})
    assert manifest.compare_config(old, new) == [
        "config.losses.l1 was 1.0 and is now 0.5.",
        "config.old was 1 and is now not set.",
        'config.new was not set and is now "x".',
    ]
    assert manifest.compare(old, new) == manifest.compare_config(old, new)


def test_changed_surroundings_are_no_change_of_the_config():
    old, new = make(), make()
    new["packages"]["jax"] = "0.11.0"
    new["devices"]["count"] += 1
    assert manifest.compare_config(old, new) == []
    devices, packages = manifest.compare(old, new)
    assert devices.startswith("devices.count was ")
    assert packages.startswith('packages.jax was "') and '"0.11.0"' in packages


def test_every_start_adds_an_entry(tmp_path):
    assert manifest.read_manifests(tmp_path) == []
    for run in (1, 2):
        manifest.write_manifest(tmp_path, make(run=run))
    assert [entry["run"] for entry in manifest.read_manifests(tmp_path)] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [manifest.FILE]


@pytest.mark.parametrize("content", ['[{"st', "3", "[1]"])
def test_a_damaged_manifest_is_named_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / manifest.FILE
    path.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        manifest.write_manifest(tmp_path, make())
    assert path.read_text() == content


def test_a_config_that_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        make({"rate": float("nan")})
