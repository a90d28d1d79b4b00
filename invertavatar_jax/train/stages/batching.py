"""How many samples a stage sees at once."""

from typing import NamedTuple


class Batching(NamedTuple):
    """Samples of a global batch, and of the microbatches that it is computed in."""

    batch_size: int
    microbatch: int  # the released system's batch on one GPU
