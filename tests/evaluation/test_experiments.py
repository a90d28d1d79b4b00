"""Every table and figure runs from end to end, at the smallest size with random weights."""

import json
import re

import pytest

from experiments import paper_table
from experiments.evaluation import driver
from experiments.evaluation.page import read_paper

EXPERIMENTS = {one.name: one for one in paper_table.experiments()}


def run(name, shared, folder, *options):
    rendered, workshop = shared
    argv = ["--smoke", "--out", str(folder), "--people-from", str(rendered), *options]
    return driver.main(EXPERIMENTS[name], argv, workshop)


@pytest.mark.slow  # it differentiates the generator
def test_pivotal_tuning_runs(shared, tmp_path):
    assert run("figure8", shared, tmp_path) == 0
    result = json.loads((tmp_path / "figure8.json").read_text())
    assert "our_pti" in result["systems"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs(name, shared, tmp_path):
    slow = ("--without", "our_pti") if "our_pti" in EXPERIMENTS[name].systems else ()
    assert run(name, shared, tmp_path, *slow) == 0
    result = json.loads((tmp_path / f"{name}.json").read_text())
    experiment = EXPERIMENTS[name]
    assert {*result["systems"], *result["not_run"]["systems"]} == {*experiment.systems}
    assert result["manifest"]["seeds"] == {"all": driver.SEED} and result["seconds"] > 0
    for part in experiment.parts:
        held = result["parts"][part.name]
        assert {*held["metrics"], *result["not_run"]["metrics"]} >= {*part.metrics}
        systems = {row["system"] for row in held["summary"]}
        assert systems == {*result["systems"]}
        assert (tmp_path / f"{name}_{part.name}.png").stat().st_size > 1000
    assert (tmp_path / f"{name}_views.png").exists() == experiment.views
    page = (tmp_path / f"{name}.md").read_text()
    assert all(f"| {system} |" in page for system in experiment.systems)
    assert {*re.findall(r"\]\((.*\.png)\)", page)} == {one.name for one in tmp_path.glob("*.png")}


def test_every_number_of_the_paper_has_a_column():
    for name, held in read_paper().items():
        if name == "source":
            continue
        known = {f"{p.name}/{measure}" for p in EXPERIMENTS[name].parts for measure in p.measures}
        assert {*held["columns"]} <= known
        assert {*held["rows"]} <= {*EXPERIMENTS[name].systems}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--baseline", "conv_fusion"], "expected NAME=PATH"),
        (["--outside", "rome=nowhere"], "there is no picture"),
        (["--outside", "rome=a", "--baseline", "rome=b"], "choose one"),
        (["--baseline", "conv_fusion=nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(options, sentence, shared, tmp_path, capsys):
    assert run("table2", shared, tmp_path, *options) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("table2: ") and sentence in told
    assert not (tmp_path / "table2.json").exists()
