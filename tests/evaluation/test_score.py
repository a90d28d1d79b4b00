"""Scores of a system whose images are known."""

import json

import numpy as np
import pytest

from experiments.evaluation import outside, report, score
from experiments.evaluation.experiment import Part
from experiments.evaluation.footage import Footage
from experiments.evaluation.pictures import plot_curves
from experiments.evaluation.protocols import Trial
from experiments.evaluation.systems import System
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import picture
from invertavatar_jax.metrics import registry
from invertavatar_jax.metrics.metric import Found, Metric

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


PART = Part("known", "few_shot", {})
PEOPLE = [person(0), person(1)]


def rows(trials=TRIALS, metrics=METRICS, system=SYSTEM, part=PART):
    todo = score.tasks(part, trials, PEOPLE, PEOPLE)
    return [done.row for done in score.evaluate({"known": system}, todo, metrics)]


@pytest.fixture(scope="module")
def found():
    return rows()


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


def test_metrics_of_tracks_are_refused():
    with pytest.raises(ValueError, match="compares images"):
        rows(metrics={"pose_error": METRICS["l1"]})


def test_a_trial_that_another_person_drives_has_no_truth():
    with pytest.raises(ValueError, match="its own person drives"):
        rows([Trial(0, (0,), 1, (3,))])


def first_of_wanted(images, wanted):
    """A metric that tells what it was given to compare with."""
    return Found(np.array([float(wanted[0, 0, 0, 0])] * len(images)), {})


@pytest.mark.parametrize(
    ("driver", "of_prior", "expected"), [(0, False, 0.3), (1, False, 0.1), (1, True, 0.2)]
)
def test_persons_are_compared_with_what_is_known_of_them(driver, of_prior, expected):
    """The truth; the source, where another drives; of random identities their first image."""
    persons = {"csim[dlib]": Metric("told", "", "higher", None, first_of_wanted)}
    part = PART._replace(of_prior=of_prior)
    made = rows([Trial(0, (1,), driver, (3, 4))], persons, part=part)
    values = made[0]["values"]["csim[dlib]"]
    assert values == pytest.approx([expected - 0.1] if of_prior else [expected] * 2)


def test_a_system_is_not_asked_twice_for_the_frames_that_it_reads():
    asked = []
    one = SYSTEM._replace(reconstruct=lambda seen: asked.append(seen) or seen, most=1)
    made = rows(system=one)
    assert len(asked) == 2 and [row["sources"] for row in made] == [(0,), (0, 1), (0,)]


def test_pictures_made_elsewhere_are_scored(tmp_path):
    (task,) = score.tasks(PART, TRIALS[2:], PEOPLE, PEOPLE)
    assert task.pictures == ["known/person 1/1_person 1/00003.png"]
    elsewhere = outside.Recorded("elsewhere", tmp_path)
    with pytest.raises(UserError, match="there is no picture"):
        elsewhere.check(task.pictures)
    path = tmp_path / task.pictures[0]
    path.parent.mkdir(parents=True)
    picture.write_png(path, np.full((2 * SIDE, 2 * SIDE, 3), 204, np.uint8))  # 0.6 in [-1, 1]
    elsewhere.check(task.pictures)
    (row,) = rows(TRIALS[2:], system=elsewhere)
    assert row["values"]["l1"] == [0.15]
    picture.write_png(path, np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(UserError, match="square"):
        rows(TRIALS[2:], system=elsewhere)


def test_smaller_images_are_scored_at_the_size_of_the_truth():
    small = lambda seen, driving: darker(seen, driving)[:, :: SIDE // 2, :: SIDE // 2]
    made, _ = score.draw(
        SYSTEM._replace(render=small), score.tasks(PART, TRIALS, PEOPLE, PEOPLE)[0]
    )
    assert made.shape == (2, SIDE, SIDE, 3)
    np.testing.assert_allclose(made[:, 0, 0], darker([0], (3, 5))[:, 0, 0], atol=1e-6)


def test_sets_are_compared_as_wholes():
    counts = Metric("count", "", "lower", None, lambda images, real: Found(
        np.array([float(len(list(images)) * 100 + len(list(real)))]), {}
    ))  # fmt: skip
    todo = score.tasks(PART, TRIALS, PEOPLE, PEOPLE)
    assert score.compare_sets(SYSTEM, todo, counts)["mean"] == 512  # 5 images, 2 people's frames


def test_a_result_holds_all_that_is_needed_to_read_it(found, tmp_path):
    summary = score.summary(found, METRICS, seed=0)
    parts = {"known": {"summary": summary}}
    options = {"systems": {}, "not_run": {}, "seconds": 1.0}
    begun = report.begin({"preset": "tiny"}, "drawn", seed=0)
    made = report.make("test", begun, parts=parts, rows=found, **options)
    report.write(tmp_path / "r.json", made)
    held = json.loads((tmp_path / "r.json").read_text())
    assert held == json.loads(json.dumps(made)) and len(held["rows"]) == len(found)
    assert (held["preset"], held["data"], held["seed"]) == ("tiny", "drawn", 0)
    assert held["manifest"]["config"] == {"preset": "tiny"} and held["manifest"]["packages"]["jax"]
    plot_curves(tmp_path / "r.png", summary, ["l1"], "drawn")
    assert (tmp_path / "r.png").stat().st_size > 1000


def test_differences_are_taken_frame_by_frame():
    two = [{"system": "known", "person": str(p), "driver": "d", "frames": [1, 2]} for p in (0, 1)]
    more = [{**row, "system": "better"} for row in two]
    wrong = ([1.0, None], [5.0, 9.0])
    found = [
        *({**row, "sources": [0], "values": {"l1": x}} for row, x in zip(two, wrong, strict=True)),
        *(
            {**row, "sources": [0], "values": {"l1": [x[0] - 0.5, 8.0]}}
            for row, x in zip(more, wrong, strict=True)
        ),
    ]
    less = score.difference(found, "l1", ("known", 1), ("better", 1), seed=0)
    assert [less[k] for k in ("mean", "low", "high")] == [0.625, 0.5, 0.75]
    assert [less[k] for k in ("identities", "values", "missing")] == [2, 3, 1]
    found[-1] = {**found[-1], "frames": [1, 3]}
    with pytest.raises(ValueError, match="the same trials"):
        score.difference(found, "l1", ("known", 1), ("better", 1), seed=0)
