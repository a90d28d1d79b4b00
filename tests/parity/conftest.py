"""Networks of the released size must not pile up in memory."""

import gc

import jax
import pytest


@pytest.fixture(autouse=True)
def released_memory():
    """Drops compiled programs, and with them the weights that some hold as constants."""
    yield
    jax.clear_caches()
    gc.collect()
