"""Scores of a system whose images are known."""

import json

import numpy as np
import pytest

from experiments.evaluation import report, score
from experiments.evaluation.footage import Footage
from experiments.evaluation.protocols import Trial
from experiments.evaluation.systems import System
from invertavatar_jax.metrics import registry

SIDE, FRAMES = 16, 6
TRIALS = [Trial(0, (0,), 0, (3, 5)), Trial(0, (0, 1), 0, (3, 5)), Trial(1, (0,), 1, (3,))]
METRICS = {name: registry.make(name) for name in ("psnr", "l1")}


def person(number: int) -> Footage:
    """Frame i is grey of level i / 10; observations are the frames' numbers."""
    levels = np.arange(FRAMES, dtype=np.float32)[:, None, None, None] / 10
    truth = np.broadcast_to(levels, (FRAMES, SIDE, SIDE, 3))
    head = np.zeros((FRAMES, SIDE, SIDE), bool)
    head[:, : SIDE // 2] = True
    return Footage(f"person {number}", list(range(FRAMES)), truth, head)  # pyright: ignore


def darker(seen, driving):
    """Wrong by 0.2 where it is compared, by half of that if it has seen two frames."""
    wrong = 0.2 / len(seen)
    out = np.stack([np.full((SIDE, SIDE, 3), i / 10 - wrong, np.float32) for i in driving])
    out[:, SIDE // 2 :] = 1.0
    return out


SYSTEM = System("known", lambda seen: seen, darker)


@pytest.fixture(scope="module")
def found():
    return list(score.rows("known", SYSTEM, TRIALS, [person(0), person(1)], METRICS))


def test_frames_are_compared_with_the_truth_where_the_head_is(found):
    assert [row["values"]["l1"] for row in found] == [[0.1, 0.1], [0.05, 0.05], [0.1]]
    expected = 10 * np.log10(4 / 0.2**2)
    np.testing.assert_allclose(found[0]["values"]["psnr"], expected, rtol=1e-5)


def test_a_mean_is_over_people_and_has_an_interval(found):
    one, two = score.summary(found, METRICS, seed=0)
    assert (one["sources"], one["avatars"], two["sources"], two["avatars"]) == (1, 2, 2, 1)
    assert one["l1"]["mean"] == one["l1"]["low"] == one["l1"]["high"] == 0.1
    assert (one["l1"]["identities"], one["l1"]["values"]) == (2, 3)
    assert two["l1"]["mean"] == 0.05 and two["l1"]["low"] is None  # one person: no interval


def test_metrics_of_sets_are_refused():
    with pytest.raises(ValueError, match="compares images"):
        list(score.rows("known", SYSTEM, TRIALS, [person(0)], {"pose_error": METRICS["l1"]}))


def test_a_trial_that_another_person_drives_has_no_truth():
    with pytest.raises(ValueError, match="its own person drives"):
        list(score.rows("known", SYSTEM, [Trial(0, (0,), 1, (3,))], [person(0)], METRICS))


def test_a_result_holds_all_that_is_needed_to_read_it(found, tmp_path):
    summary = score.summary(found, METRICS, seed=0)
    options = {"data": "drawn", "seed": 0, "systems": {"known": "known"}, "seconds": 1.0}
    report.write(tmp_path / "r.json", "test", {"people": 2}, summary=summary, rows=found, **options)
    held = json.loads((tmp_path / "r.json").read_text())
    assert held["summary"] == json.loads(json.dumps(summary))
    assert held["manifest"]["config"] == {"people": 2} and held["manifest"]["packages"]["jax"]
    report.plot_curves(tmp_path / "r.png", summary, ["l1"], "drawn")
    assert (tmp_path / "r.png").stat().st_size > 1000
