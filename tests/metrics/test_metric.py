"""Scores, and the files that metrics ask for."""

import hashlib
import json

import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.metrics import metric


def score(*values) -> metric.Score:
    found = metric.Found(np.array(values), {"pairs": len(values)})
    return metric.Metric("drawn", "px", metric.LOWER, None, lambda: found)()


def test_a_report_is_json_and_has_no_mean_where_nothing_was_measured():
    assert score(1.0, np.nan, 3.0).report()["mean"] == 2
    nothing = score(np.nan, np.nan)
    assert np.isnan(nothing.mean)
    expected = {"metric": "drawn", "unit": "px", "better": "lower", "weights": None}
    assert json.loads(json.dumps(nothing.report())) == expected | {
        "mean": None,
        "counts": {"pairs": 2},
    }


def test_files_are_known_by_their_bytes(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert metric.fingerprints(tmp_path / "a.pth") == {"a.pth": expected}


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"m needs the file net, of P: there is no file .*\.$"):
        metric.need_files("m", {"net": str(tmp_path)}, net="of P")


@pytest.mark.parametrize(("got", "wanted"), [(0, 1), (2, 3), (3, 2), (1, 2)])
def test_lists_that_do_not_pair_up_are_refused(got, wanted):
    with pytest.raises(ValueError, match=f"got {got} results to compare with {wanted}"):
        metric.pairs([np.zeros(1)] * got, [np.zeros(1)] * wanted)
