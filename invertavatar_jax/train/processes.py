"""What the processes of a run agree on. Alone, a process agrees with itself at once."""

import itertools
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

_LATE_MS = 3_600_000
_meetings = itertools.count()


def any_of(mine: bool) -> bool:
    """Whether it is so in any process; all must ask."""
    if jax.process_count() == 1:
        return mine
    return bool(multihost_utils.process_allgather(np.array(mine)).any())


def wait_for_all(name: str) -> None:
    """Returns when every process is here, be it an hour; devices would give up sooner."""
    meet = multihost.get_barrier_sync_fn()
    meet(key=f"{name} {next(_meetings)}", timeout_ms=_LATE_MS)


def of_first(tree: Any) -> Any:
    """Arrays of process 0, in all processes."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.process_count() > 1 else tree


def gather(tree: Any) -> Any:
    """Global arrays as NumPy's, whole in every process, wherever their parts are."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)
