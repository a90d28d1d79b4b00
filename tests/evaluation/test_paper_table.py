"""The README's table says what was run, and is current."""

import json

import pytest

from experiments import paper_table
from experiments.evaluation.page import read_paper


def result(**changes):
    interval = {"mean": 25.0, "low": 24.0, "high": 26.0, "missing": 0}
    summary = [
        {"system": "ours", "sources": n, "psnr": interval | {"mean": mean}}
        for n, mean in ((1, 24.5), (32, 25.25))
    ]
    return {
        "preset": "small",
        "data": {"name": "rendered people"},
        "not_run": {"systems": {"conv_fusion": "weights"}, "metrics": {}, "parts": {}},
        "parts": {"vfhq": {"metrics": ["psnr"], "summary": summary, "as run": {"people": 8}}},
    } | changes


def row(results, name):
    title = next(one.title for one in paper_table.experiments() if one.name == name)
    (line,) = [x for x in paper_table.table(results, read_paper()).splitlines() if title in x]
    return line


def test_the_readme_is_current():
    assert paper_table.main(["--check"]) == 0


def test_a_result_shows_its_size_its_data_and_what_is_missing():
    line = row({"figure6": result()}, "figure6")
    assert "psnr 24.5 to 25.25 (1 to 32 frames)" in line
    assert "size small: rendered people, 8 clips; without conv_fusion" in line


def test_what_has_no_result_is_not_run():
    assert "| not run | not run: `./avatar python -m experiments.figure6" in row({}, "figure6")
    needs = {"systems": {"ours": "a file"}, "metrics": {}, "parts": {}}
    parts = {"vfhq": {"metrics": [], "summary": [], "as run": {"people": 8}}}
    line = row({"figure6": result(not_run=needs, parts=parts)}, "figure6")
    assert "| not run | not run: needs a file |" in line


def test_a_changed_result_makes_the_table_old(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{paper_table.BEGIN}\n{paper_table.END}\nafter\n")
    options = ["--readme", str(readme), "--results", str(tmp_path)]
    assert paper_table.main([*options, "--check"]) == 1
    assert paper_table.main(options) == 0
    assert paper_table.main([*options, "--check"]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    (tmp_path / "figure6.json").write_text(json.dumps(result()))
    assert paper_table.main([*options, "--check"]) == 1


@pytest.mark.parametrize("fault", ["random weights", "no marks"])
def test_a_table_that_would_lie_is_not_written(fault, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("no marks" if fault == "no marks" else paper_table.README.read_text())
    if fault == "random weights":
        (tmp_path / "figure6.json").write_text(json.dumps(result(preset="tiny")))
    assert paper_table.main(["--readme", str(readme), "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("paper_table: ")
