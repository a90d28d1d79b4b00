"""The figures that the documents show are those of the committed results."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import profile_step, table

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = [json.loads(path.read_text()) for path in sorted(ROOT.glob("docs/benchmarks/*.json"))]
ROW = {"name": "a", "ours_ms": 1.5, "peer": "b", "peer_ms": 3.0, "ratio": 0.5, "peak_mib": None}
OTHER = {**ROW, "name": "alone", "peer": None, "peer_ms": None, "ratio": None, "peak_mib": 7.0}


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md"])
def test_documents_show_committed_results(name):
    shown = (ROOT / name).read_text().split(table.BEGIN)[1].split(table.END)[0]
    lines = {line for line in shown.splitlines() if line and not line.startswith("|---")}
    measured = set(table.table(RESULTS).splitlines())
    assert len(lines) > 3
    assert lines <= measured


def test_a_table_has_the_rows_that_match_under_their_environment():
    environment = {"device": "cpu", "cpu": "c", "cores": 2, "python": "3", "commit": "f00"}
    environment |= {"packages": {"jax": "1"}, "settings": {}}
    result = {"title": "T", "rounds": 3, "environment": environment, "rows": [ROW, OTHER]}
    made = table.table([result], match="/ b$")
    assert made.startswith(
        "**T**: cpu, c, 2 cores, Python 3, jax 1; default settings; medians of 3"
    )
    assert "| a | 1.50 ms | b | 3.00 ms | 0.50 |  |" in made and "alone" not in made
    assert "| alone | 1.50 ms |  |  |  | 7 MiB |" in table.table([result])
    assert table.table([result], match="nothing") == ""


def test_a_table_takes_the_place_of_the_one_before():
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    assert table.insert(text, "new") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        table.insert("no marks", "new")


def test_a_profile_names_the_lines_of_slow_instructions(tmp_path):
    def slow(x):
        for _ in range(3):
            x = jnp.tanh(x @ x)
        return x

    x = jnp.ones((256, 256))
    compiled = jax.jit(slow).lower(x).compile()
    with jax.profiler.trace(tmp_path):
        for _ in range(2):
            jax.block_until_ready(compiled(x))
    rows = profile_step.rows(profile_step.read(tmp_path), compiled.as_text(), steps=2)
    assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)
    slowest = rows[0]
    assert slowest["ms"] > 0 and slowest["calls"] == 1
    assert slowest["place"].startswith("test_benchmarks.py:")
