"""Accelerators by name: what they hold and how fast they are. Does not import JAX."""

import os
from typing import NamedTuple

from invertavatar_jax.errors import UserError

AXIS = "data"  # the mesh's only axis: avatars and frames of a batch


class Device(NamedTuple):
    """One chip, as its maker describes it."""

    platform: str  # of JAX
    memory_bytes: int | None  # None: not known
    flops_per_s: dict[str, float] | None  # peak of products, by settings.COMPUTE
    bytes_per_s: float | None  # of its memory
    source: str


DEVICES = {
    "h100": Device(
        "cuda",
        80 * 10**9,
        {"float32": 67e12, "tensorfloat32": 494.7e12, "bfloat16": 989.4e12},
        3.35e12,
        "NVIDIA H100 datasheet, SXM5 80 GB: dense products, half of what it says with sparsity",
    ),
    # the matrix units know bfloat16 alone; XLA makes longer numbers of three and six passes
    "v5e": Device(
        "tpu",
        16 * 2**30,
        {"float32": 197e12 / 6, "tensorfloat32": 197e12 / 3, "bfloat16": 197e12},
        819e9,
        "Google Cloud documentation, TPU v5e: 16 GiB of HBM2, 819 GB/s, 197 TFLOP/s of bfloat16",
    ),
    "cpu": Device("cpu", None, None, None, "this machine; nothing is assumed"),
}


class Target(NamedTuple):
    """Some devices of one kind."""

    device: str  # a name of DEVICES
    count: int
    topology: str  # as the compiler names it


TARGETS = {
    "h100x1": Target("h100", 1, "1x1x1"),
    "h100x4": Target("h100", 4, "1x1x4"),
    "h100x8": Target("h100", 8, "1x1x8"),
    "v5e-8": Target("v5e", 8, "v5e:2x4"),
    "v5e-16": Target("v5e", 16, "v5e:4x4"),
    "cpu": Target("cpu", 1, ""),
}


def find(name: str) -> Target:
    """The target of that name.

    Raises:
        UserError: there is none.
    """
    if name not in TARGETS:
        raise UserError(f"--target {name}: expected one of {', '.join(TARGETS)}.")
    return TARGETS[name]


def prepare(target: Target, *, quick: bool = False) -> None:
    """Sets what the compiler reads from the environment; call it before JAX is imported.

    The programs are for devices that are not there, so JAX itself must not look for any.

    Args:
        quick: the TPU's compiler takes less than half the time, and gives programs that move
            more bytes.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # or the seconds are those of a look-up
    if quick:
        os.environ["JAX_EXEC_TIME_OPTIMIZATION_EFFORT"] = "-1.0"
        os.environ["JAX_MEMORY_FITTING_EFFORT"] = "-1.0"
    platform = DEVICES[target.device].platform
    if platform == "tpu":
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")  # or it complains
        os.environ["TPU_SKIP_MDS_QUERY"] = "1"
        # no chip is used: another compilation, or the lock file of a killed one, is no obstacle
        os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
        os.environ["TPU_ACCELERATOR_TYPE"] = f"v5litepod-{target.count}"
    elif platform == "cuda":
        # Tuning runs kernels, and there is no card to run them on.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
