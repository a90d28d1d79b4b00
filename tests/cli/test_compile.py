"""`avatar compile` for the CPU, with a program that compiles at once."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from invertavatar_jax.cli import main as command_line
from invertavatar_jax.compile import programs


@pytest.fixture
def toy(monkeypatch):
    """A program of the registry: one product, 64 x 64."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "")

    def maker(request, mesh):
        one = jax.ShapeDtypeStruct(
            (64, 64), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
        )
        yield programs.Program("toy", jax.jit(jnp.dot), (one, one), "a product")

    monkeypatch.setitem(programs.PROGRAMS, "toy", maker)


def run(out, *more: str) -> int:
    argv = ["compile", "--config", "tiny", "--target", "cpu", "--out", str(out), *more]
    return command_line.main(argv)


def test_the_report_says_what_the_compiler_said(toy, tmp_path, capsys):
    out = tmp_path / "new" / "R.json"
    assert run(out, "--programs", "toy", "--json") == 0
    printed = capsys.readouterr()
    made = json.loads(out.read_text())
    assert json.loads(printed.out)["programs"]["toy"] == made["programs"][0]
    row = made["programs"][0]
    assert row["flops"] == 2 * 64**3
    assert row["memory_bytes"]["arguments"] == 2 * row["memory_bytes"]["outputs"] == 2 * 64 * 64 * 4
    assert row["collectives"] == {} and row["roofline"] is None
    assert "toy, per device" in printed.err
    page = out.with_suffix(".md").read_text()
    assert made["finished"] and "Not finished" not in page
    assert "| toy | a product | 32.00 KiB" in page
    assert f"./avatar compile --config tiny --target cpu --programs toy --out {out}" in page


def test_a_stopped_compilation_keeps_what_was_compiled(toy, tmp_path, monkeypatch):
    first = programs.PROGRAMS["toy"]

    def stopped(request, mesh):
        yield from first(request, mesh)
        raise KeyboardInterrupt

    monkeypatch.setitem(programs.PROGRAMS, "toy", stopped)
    out = tmp_path / "R.json"
    assert run(out, "--programs", "toy") == 130
    made = json.loads(out.read_text())
    assert [row["name"] for row in made["programs"]] == ["toy"] and not made["finished"]
    assert "Not finished" in out.with_suffix(".md").read_text()


def test_too_little_memory_fails_after_the_report_is_written(toy, tmp_path, capsys):
    out = tmp_path / "R.json"
    assert run(out, "--programs", "toy", "--memory-gib", "0.00001") == 2
    assert "avatar compile: toy needs 48.0" in capsys.readouterr().err
    assert out.exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--programs", "toys"), "--programs toys: expected some of reconstruct, animate"),
        (("--programs", "train"), "--programs train needs --config FILE[:VARIANT]"),
        (("--config", "huge"), "--config huge: expected paper"),
        (("--config", "configs/none.py"), "there is no configuration file configs/none.py"),
        (("--out", "R.txt"), "expected a name that ends in .json"),
    ],
)
def test_wrong_options_are_told(toy, tmp_path, capsys, more, sentence):
    assert run(tmp_path / "R.json", *more) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "R.json").exists()
