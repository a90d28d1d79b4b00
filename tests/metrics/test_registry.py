"""The list of metrics: names, needs, and its page."""

from pathlib import Path

import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.metrics import registry, tracked
from invertavatar_jax.metrics.metric import HIGHER, LOWER

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
FREE = [name for name, entry in registry.METRICS.items() if not (entry.files or entry.packages)]


@pytest.mark.parametrize("name", FREE)
def test_a_metric_that_needs_nothing_is_made_under_its_name(name):
    metric = registry.make(name)
    assert metric.name == name and metric.better in (HIGHER, LOWER)


@pytest.mark.parametrize("name", [n for n, e in registry.METRICS.items() if e.files])
def test_a_metric_without_its_files_is_refused_in_one_sentence(name):
    with pytest.raises(UserError) as refused:
        registry.make(name)
    said = str(refused.value)
    assert registry.METRICS[name].files[0] in said and said.endswith("none is named.")


def test_an_unknown_metric_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no metric 'fvd'; there are psnr, l1, ssim"):
        registry.make("fvd")


def test_every_metric_has_a_row_in_the_documentation():
    table = PAGE.read_text().split("## Files")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [row.strip().strip("`") for row in rows] == list(registry.METRICS)


def test_the_groups_of_expressions_are_those_of_the_head():
    names = load_head_model().expression_names
    assert sorted(tracked.GROUPS) == sorted([tracked.ALL, *tracked.parts(names)])


def test_a_metric_is_called_with_what_its_entry_says():
    images = np.zeros((3, 16, 16, 3), np.float32)
    assert registry.METRICS["ssim"].compares == registry.MASKED
    assert registry.make("ssim")(images, images).mean == 1
    assert registry.METRICS["image_jitter"].compares == registry.VIDEO
    assert registry.make("image_jitter")(images).mean == 0
