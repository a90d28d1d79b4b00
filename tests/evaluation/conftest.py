"""Rendered people and open models, which all experiments of a test process share."""

import pytest

from experiments.evaluation import people
from experiments.evaluation.line_up import Workshop

PEOPLE, FRAMES, SIDE = 2, 3, 32


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Rendered people, and models that are opened and compiled once."""
    folder = tmp_path_factory.mktemp("people")
    people.rendered(folder, PEOPLE, FRAMES, SIDE, SIDE)
    return folder, Workshop("tiny")
