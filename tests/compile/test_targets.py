"""Targets and reports: limits, sentences, and what is set before JAX starts."""

import importlib.util
import os

import pytest

from invertavatar_jax.compile import cost, mesh, report, targets
from invertavatar_jax.errors import UserError


@pytest.fixture
def environment(monkeypatch):
    """Gives back what `prepare` sets."""
    for name in ("JAX_PLATFORMS", "JAX_ENABLE_COMPILATION_CACHE", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")
    for name in ("TPU_SKIP_MDS_QUERY", "TPU_ACCELERATOR_TYPE", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.setenv(name, "")
    return monkeypatch


def test_jax_itself_looks_for_no_accelerator(environment):
    targets.prepare(targets.find("v5e-16"))
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert os.environ["TPU_ACCELERATOR_TYPE"] == "v5litepod-16"
    environment.setenv("XLA_FLAGS", "--a=1")
    targets.prepare(targets.find("h100x8"))
    assert os.environ["XLA_FLAGS"] == "--a=1 --xla_gpu_autotune_level=0"


def test_an_unknown_target_is_told():
    with pytest.raises(UserError, match="--target abacus: expected one of h100x1"):
        targets.find("abacus")


@pytest.mark.parametrize(
    ("name", "package"), [("v5e-8", "libtpu"), ("h100x1", "jax_cuda13_plugin")]
)
def test_a_missing_compiler_is_told_with_what_to_run(name, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed here")
    with pytest.raises(UserError, match=r"run `\./avatar compile`"):
        mesh.make_mesh(targets.find(name))


def test_the_mesh_of_the_cpu_is_this_machines():
    assert dict(mesh.make_mesh(targets.find("cpu")).shape) == {"data": 1}


def test_a_target_has_as_many_devices_as_its_topology():
    for name, target in targets.TARGETS.items():
        sides = [int(n) for n in target.topology.rpartition(":")[2].split("x") if n]
        product = 1
        for side in sides:
            product *= side
        assert product == target.count, name


def test_the_roofline_is_the_slower_of_products_and_memory():
    device = targets.DEVICES["h100"]
    flops = device.flops_per_s["float32"]
    slow = cost.NOTHING._replace(flops=flops, bytes=device.bytes_per_s / 2)
    assert report.roofline(slow, device, "float32") == {
        "compute_s": 1.0,
        "memory_s": 0.5,
        "seconds": 1.0,
        "bound_by": "compute",
    }
    assert report.roofline(slow, targets.DEVICES["cpu"], "float32") is None


def test_too_little_memory_is_told_with_both_sizes():
    row = {"name": "draw", "memory_bytes": {"peak": 3 * 2**30}}
    report.check_memory([row], 3 * 2**30, "v5e")
    report.check_memory([row], None, "cpu")
    with pytest.raises(UserError, match=r"draw needs 3.00 GiB on each device, and v5e has 2.50"):
        report.check_memory([row], 5 * 2**29, "v5e")
