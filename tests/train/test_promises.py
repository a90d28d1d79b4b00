"""The table of what keeps its bits is made of what was compared."""

import pytest

from experiments.determinism import promises


@pytest.mark.slow  # every way is a process of its own
def test_another_process_keeps_the_bits_and_another_key_does_not(tmp_path):
    ways = promises.RANDOM
    rows = promises.compare("tiny", tmp_path, (ways,))
    equal = {(row["what"], row["way"]): row["equal"] for row in rows}
    assert equal == {
        (what, way.name): way.seed == ways[0].seed
        for what in ("features", "images")
        for way in ways[1:]
    }
    assert all((row["most"] == 0) == row["equal"] for row in rows)
