"""Protocols are the paper's, and what smaller data leaves of them."""

import pytest

from experiments.evaluation.protocols import PROTOCOLS, shrink, trials

ALL = {"seed": 0, "most": 1000}


def test_reenactment_of_oneself_is_driven_by_what_follows_the_first_frame():
    found = trials(PROTOCOLS["self_reenactment"], 19, 0, **ALL)
    assert [trial.person for trial in found] == list(range(19))
    for trial in found:
        assert trial.sources == (0,) and trial.driver == trial.person
        assert trial.frames == tuple(range(1, 501))


def test_one_clip_drives_all_others():
    found = trials(PROTOCOLS["cross_identity"], 19, 0, **ALL)
    (driver,) = {trial.driver for trial in found}
    assert {trial.person for trial in found} == set(range(19)) - {driver}


def test_photos_are_driven_by_every_clip_of_another_set():
    found = trials(PROTOCOLS["celeba_cross"], 1000, 25, **ALL)
    assert sum(len(trial.frames) for trial in found) == 100_000
    assert {(trial.person, trial.driver) for trial in found} == {
        (person, driver) for person in range(1000) for driver in range(25)
    }


@pytest.mark.parametrize("name", ["few_shot", "frames_curve", "frames_curve_unordered"])
def test_sources_and_scored_frames_of_a_clip_are_apart(name):
    for protocol in PROTOCOLS[name], shrink(PROTOCOLS[name], 3, 45):
        for trial in trials(protocol, 5, 0, **ALL):
            assert max(trial.sources) < min(trial.frames) < max(trial.frames) + 1 <= protocol.length
            assert len(set(trial.sources)) == len(trial.sources)


def test_sources_are_spread_evenly_or_drawn():
    even, drawn = (
        {len(t.sources): t.sources for t in trials(PROTOCOLS[name], 1, 0, **ALL)}
        for name in ("frames_curve", "frames_curve_unordered")
    )
    assert even[4] == (0, 50, 100, 150)
    assert list(drawn[32]) != sorted(drawn[32])
    assert drawn == {
        len(t.sources): t.sources for t in trials(PROTOCOLS["frames_curve_unordered"], 1, 0, **ALL)
    }


def test_smaller_data_keeps_the_shares():
    small = shrink(PROTOCOLS["few_shot"], 12, 48)
    assert (small.clips, small.pool, small.scored, small.length) == (12, 32, (32, 48), 48)
    assert small.counts == (1, 4, 8, 16)
    assert shrink(PROTOCOLS["few_shot"], 1000, 1000) == PROTOCOLS["few_shot"]
    with pytest.raises(ValueError, match="at least 2"):
        shrink(PROTOCOLS["self_reenactment"], 1, 1)
    shortest = shrink(PROTOCOLS["frames_curve"], 1, 2)
    assert (shortest.pool, shortest.counts, shortest.scored) == (1, (1,), (1, 2))


def test_fewer_frames_are_scored_evenly():
    (trial,) = trials(shrink(PROTOCOLS["few_shot"], 1, 3), 1, 0, seed=0, most=5)
    assert trial.frames == (2,)
    first = trials(PROTOCOLS["few_shot"], 1, 0, seed=0, most=4)[0]
    assert first.frames == (200, 225, 250, 275)


def test_a_portrait_is_scored_on_its_source():
    (trial,) = trials(shrink(PROTOCOLS["portraits"], 1, 48), 1, 0, **ALL)
    assert trial.sources == trial.frames == (0,) and trial.driver == trial.person


def test_a_stream_is_seen_from_its_beginning():
    four, eight = trials(PROTOCOLS["stream"], 1, 0, **ALL)
    assert four.sources == (0, 1, 2, 3) and eight.sources == tuple(range(8))
    assert four.frames == eight.frames == (8, 9, 10, 11)
    assert shrink(PROTOCOLS["stream"], 1, 3).counts == (2,)  # the pool has neither four nor eight
