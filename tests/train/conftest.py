"""A shard of a few identities, small and random: what the trainer needs to run."""

import numpy as np
import pytest

from configs.supervised import get_config
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.train import config
from invertavatar_jax.train.program import Program

IDENTITIES, FRAMES, SIDE = 6, 4, 32


def front_camera_numbers(distance: float = 2.7) -> np.ndarray:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = distance
    intrinsics = [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
    return np.concatenate([pose.ravel(), intrinsics]).astype(np.float32)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shards")
    n, k, s = IDENTITIES, FRAMES, SIDE
    head = load_head_model()
    np.savez(
        folder / "heads.npz",
        image=rng.integers(0, 256, (n, k, s, s, 3), dtype=np.uint8),
        matte=rng.integers(0, 256, (n, k, s, s), dtype=np.uint8),
        background=rng.integers(0, 256, (n, s, s, 3), dtype=np.uint8),
        identity=rng.normal(size=(n, len(head.identity))).astype(np.float32),
        expression=rng.random((n, k, len(head.expression_names)), dtype=np.float32) * 0.3,
        gaze_rad=rng.normal(size=(n, k, 4)).astype(np.float32) * 0.1,
        camera=np.broadcast_to(front_camera_numbers(), (n, k, 25)),
    )
    return folder


@pytest.fixture(scope="session")
def toy_shards(tmp_path_factory):
    """What the stage of tests.train.toy reads."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("toy_shards")
    n, k, s = 10, 2, 8
    empty = lambda *shape: np.zeros((n, *shape), np.float32)
    np.savez(
        folder / "heads.npz",
        image=rng.integers(0, 256, (n, k, s, s, 3), dtype=np.uint8),
        matte=rng.integers(0, 256, (n, k, s, s), dtype=np.uint8),
        background=rng.integers(0, 256, (n, s, s, 3), dtype=np.uint8),
        identity=empty(3),
        expression=empty(k, 3),
        gaze_rad=empty(k, 4),
        camera=empty(k, 25),
    )
    return folder


@pytest.fixture(scope="session")
def training(shards):
    values = get_config("tiny")
    values.data = str(shards)
    return config.parse(values)


@pytest.fixture(scope="session")
def program(training):
    """All runs' functions: compiling the step takes a minute."""
    return Program(training)
