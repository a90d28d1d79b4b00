"""Frames spread over four devices along time give what one device gives."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from experiments.determinism import child
from invertavatar_jax.aggregate import distributed
from invertavatar_jax.aggregate.distributed import Spread
from tests.aggregate import time_sharded


def ask(*work):
    """What a process with as many devices finds out."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={time_sharded.DEVICES}"}
    ended = child.Child(*work, environment=flags).join()
    assert ended.answer is not None, ended.output
    return ended.answer


@pytest.fixture(scope="module")
def found():
    return ask(time_sharded.compare)


def test_a_fold_over_devices_has_the_bits_of_the_fold(found):
    assert found["gru"]["value"] == 0
    assert found["gru"]["gradient"] <= 1e-5
    assert found["gru"]["replicated"]


def test_a_scan_over_devices_equals_the_steps(found):
    assert found["scan"]["value"] <= 1e-5
    assert found["scan"]["gradient"] <= 1e-5
    assert found["scan"]["replicated"]


@pytest.mark.parametrize("name", ["gru", "scan"])
def test_what_devices_exchange_does_not_depend_on_the_number_of_frames(name, found):
    kinds, moved = found[name]["moved"]
    assert found[name]["moved_longer"] == (kinds, moved)
    assert {"gru": "collective-permute", "scan": "all-gather"}[name] in kinds
    assert moved > 0


def test_the_trunk_s_devices_exchange_nothing(found):
    collectives, frames = found["trunk"]
    assert collectives == {} and frames == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv_gru", "min_conv_gru", "diagonal"])
def test_an_encoder_over_devices_equals_that_of_one_and_exchanges_states_alone(name):
    answer = ask(time_sharded.compare_encoders, name)
    assert answer["apart"] <= 1e-5
    assert answer["moved"] == answer["moved_longer"]


@pytest.mark.parametrize("name", ["fold", "scan"])
def test_frames_that_devices_do_not_divide_are_refused(name):
    spread = Spread(Mesh(np.array([jax.devices()[0]] * 2), ("time",)), "time")
    x = np.zeros((3, 1, 1, 1, 1), np.float32)
    with pytest.raises(ValueError, match="got 3 frames, expected a multiple of the 2 devices"):
        if name == "fold":
            distributed.fold_over_devices(None, (), x[0], x, spread)
        distributed.scan_over_devices((x, x), x[0], spread)
