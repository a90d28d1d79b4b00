"""The compilers of accelerators take the program, where they are installed: docs/compiling.md."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"h100x8": "jax_cuda13_plugin", "v5e-16": "libtpu"}


def compile_for(target: str, out: Path, *more: str) -> list[dict]:
    """The programs' rows of the report; a process each, since a compiler is chosen at its start."""
    if importlib.util.find_spec(PACKAGES[target]) is None:
        pytest.skip(f"{PACKAGES[target]} is not installed in this environment")
    argv = [sys.executable, "-m", "invertavatar_jax", "compile", "--target", target]
    made = subprocess.run(
        [*argv, "--out", str(out), *more], cwd=ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return json.loads(out.read_text())["programs"]


@pytest.mark.slow
@pytest.mark.parametrize("target", PACKAGES)
def test_avatars_are_made_and_drawn_without_exchange(target, tmp_path):
    rows = compile_for(target, tmp_path / "R.json", "--config", "tiny")
    assert [row["name"] for row in rows] == ["begin", "fold", "finish", "draw"]
    for row in rows:
        assert row["collectives"] == {}
        assert row["flops"] > 0 and row["bytes"] > 0 and row["roofline"]["seconds"] > 0
        assert 0 < row["memory_bytes"]["arguments"] < row["memory_bytes"]["peak"]
    fold = rows[1]["memory_bytes"]
    assert fold["outputs_in_place_of_arguments"] > 0  # the old memory is used up


@pytest.mark.slow
@pytest.mark.parametrize("target", PACKAGES)
def test_a_train_step_sums_its_gradients(target, tmp_path):
    options = ("--config", "configs/supervised.py:tiny", "--programs", "train")
    gradients, update = compile_for(target, tmp_path / "R.json", *options)
    assert gradients["collectives"]["all-reduce"] > 0
    assert update["collectives"] == {}
