"""The page of a run: whole, offline, and harmless whatever the run's files say."""

import html.parser
import json
import re

import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.train import curves, log, manifest, report

EVIL = '<script>alert("x")</script>&'
VOID = {"meta", "img", "line", "polyline", "circle"}  # never closed, or closed in themselves


class Page(html.parser.HTMLParser):
    """Checks that elements are closed in order; collects them and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def written(folder):
    path = report.write_summary(folder)
    assert path == folder / "summary.html"
    text = path.read_text()
    page = Page(text)
    assert "http" not in text and "url(" not in text and "@import" not in text
    links = [a[n] for _, a in page.elements for n in ("src", "href") if n in a]
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object"}
    return page


def start(folder, **config):
    made = {"config": {"stage": "gan", "total_steps": 20} | config, "started": "noon"}
    manifest.write_manifest(folder, made | {"command": "./avatar train --out 'a <b>'"})


def test_a_page_tells_curves_pictures_checkpoints_and_how_to_go_on(tmp_path):
    start(tmp_path)
    start(tmp_path, rate=EVIL)
    with log.Log(tmp_path, 20, 0, stage="gan", images_per_step=2, progress=False) as to:
        for step in range(1, 21):
            to.add(step, {"loss": np.float32(1 / step), EVIL: np.float32(step)}, 1e9)
        to.write(20, {"loss": 0.3, "psnr": 21.5}, prefix="held_out/")
        for step in (10, 20):
            to.image(step, "grid", np.full((4, 4, 3), step, np.uint8))
        to.image(20, "views", np.zeros((4, 4, 3), np.uint8))
    for name in ("10", "20", "30.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "data").write_bytes(bytes(1_500_000))
    page = written(tmp_path)
    assert "Stage gan: step 20 of 20 (finished)" in page.text
    assert "psnr held out 21.5" in page.text and "loss training 0.06688 held out 0.3" in page.text
    assert page.count("img") == 2 and "grid_00000020" in page.text
    assert "grid_00000010" not in page.text
    assert "20" in page.text and "1.5 MB" in page.text and "orbax" not in page.text
    assert "./avatar train --out 'a <b>'" in page.text
    assert f"config.rate was not set and is now {json.dumps(EVIL)}." in page.text
    assert "Stuck" not in page.text


def test_a_run_that_was_killed_early_has_a_page(tmp_path):
    start(tmp_path)
    (tmp_path / log.FILE).write_text('{"step": 3, "steps": 1, "loss": null, "l1": 2.0}\n{"step": 4')
    (tmp_path / "stuck.txt").write_text(f"Thread {EVIL}")
    page = written(tmp_path)
    assert "step 3 of 20, last line written" in page.text
    assert EVIL in page.text  # as text; no element came of it
    assert page.count("figure") == 1


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    start(tmp_path)
    assert "step 0 of 20." in written(tmp_path).text


def test_a_log_without_a_manifest_has_a_page(tmp_path):
    (tmp_path / log.FILE).write_text('{"step": 3, "loss": 1.0}\n')
    assert "step 3, last line" in written(tmp_path).text


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no folder of a training run"):
        report.write_summary(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_curve_is_drawn_where_its_values_are():
    figure = curves.chart("loss", {"training": [(0, 1.0), (50, 3.0), (100, 2.0)]})
    points = re.search(r'points="([^"]*)"', figure)[1]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points.split())
    assert x1 - x0 == pytest.approx(x2 - x1) and x0 < x1
    assert y1 < y2 < y0  # SVG's y points down
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.1)


def test_a_long_curve_is_thinned_to_means_that_end_where_it_does():
    curve = [(step, float(step % 2)) for step in range(1, 10_001)]
    drawn = curves.thin(curve, points=100)
    assert len(drawn) == 100 and drawn[-1] == (10_000, 0.5)
    assert curves.thin(curve[:100], points=100) == curve[:100]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.1, 0.42, [0.1, 0.2, 0.3, 0.4]),
        (-3e-7, 1e-7, [-3e-7, -2e-7, -1e-7, 0, 1e-7]),
        (12, 2310, [1000, 2000]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert curves.nice_ticks(low, high) == pytest.approx(ticks, abs=1e-12)
