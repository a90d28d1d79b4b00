"""A small snapshot of every format, and what it holds."""

import io

import numpy as np
import pytest

from tests.convert import pickles, snapshots


def small_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Released names of a few layers, with numbers of several types."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    return {
        "backbone.synthesis.b4.const": draw(3, 4, 4),
        "backbone.synthesis.b4.conv1.weight": draw(5, 3, 3, 3),
        "backbone.synthesis.b4.conv1.noise_strength": np.float32(0.5).reshape(()),
        "backbone.mapping.w_avg": draw(7),
        "encoder.body.0.running_var": draw(2) ** 2,
        "encoder.body.0.num_batches_tracked": np.int64(3).reshape(()),
        "encoder.body.1.weight": draw(4, 6),
    }


def small_snapshot(arrays: dict[str, np.ndarray], protocol: int = 4) -> bytes:
    """A snapshot of the released code with these arrays under G and G_ema."""
    buffers = ("w_avg", "running_var", "num_batches_tracked")
    rows = [(n, not n.endswith(buffers), lambda a=a: a) for n, a in arrays.items()]
    root = pickles.Name("encoder_inversion.models.uvnet", "inversionNet")
    classes = snapshots.classes(root, {})
    value = {
        "training_set_kwargs": {"path": "x", "resolution": 512, "ratio": 0.5, "none": None},
        "G": snapshots.build(rows, classes),
        "D": None,
        "G_ema": snapshots.build(rows, classes),
    }
    out = io.BytesIO()
    snapshots.write_snapshot(out, value, protocol)
    return out.getvalue()


@pytest.fixture(scope="session")
def arrays():
    return small_arrays()
