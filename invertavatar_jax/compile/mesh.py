"""The devices of a target, made of its compiler alone."""

import importlib
import importlib.util

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from invertavatar_jax.compile.targets import AXIS, DEVICES, Target
from invertavatar_jax.errors import UserError

# What the GPU compiler must know of the card: sizes that CUDA reports of an H100 SXM.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_core: 233472 shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  l2_cache_size: 52428800 memory_bandwidth: 3352320000000 device_memory_size: 84978434048
}
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 8 }
"""


def make_mesh(target: Target) -> Mesh:
    """The target's devices along the axis 'data'.

    Raises:
        UserError: its compiler is not installed.
    """
    devices = _find_devices(target)[: target.count]
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def _find_devices(target: Target) -> list:
    platform = DEVICES[target.device].platform
    if platform == "cpu":
        return jax.devices("cpu")
    package = {"tpu": "libtpu", "cuda": "jax_plugins.xla_cuda13"}[platform]
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UserError(
            f"the compiler for {target.device} is not installed in this environment: run "
            "`./avatar compile`, which installs it, or `./avatar setup requirements-compile.txt`."
        )
    if platform == "tpu":
        described = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
    else:
        importlib.import_module(package)
        described = topologies.get_topology_desc(
            platform="cuda",
            topology_name=target.device,
            target_config=_H100,
            topology=target.topology,
        )
    return list(described.devices)
