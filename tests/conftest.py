"""Settings shared by all tests."""

import gc
import json
import os
import pathlib

import pytest

# Two devices' programs abort on two cores by a rendezvous timeout if dispatched asynchronously.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# XLA's older emitters make kernels of the same programs in two thirds of the time. XLA_FLAGS=
# in the environment tests with the emitters that users' programs have.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=1 --xla_cpu_use_fusion_emitters=false",
)
# Most tests wait for the compiler, not for what it made. LLVM leaves machine code as it comes:
# the program is the same, only slower. Tests against the golden cases are optimised as users'
# programs are.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Workers share what they compile through files, from smaller programs on than users' runs do.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax

from tests.parity import golden

QUICK = "jax_disable_most_optimizations"
FULLY_OPTIMISED = pathlib.Path(__file__).parent / "parity"
# Tracing makes millions of objects that live; looking through them is a tenth of its time.
gc.set_threshold(100_000, 50, 100)

REPORT: list[dict] = []
# They take about a minute or more: first, so that no worker has one left when the others are done.
LONGEST = (
    "test_few_shot_inversion_equals_the_released_one",
    "test_one_shot_inversion_equals_the_released_one",
    "test_the_whole_generator",
    "test_generator_equals_the_released_one",
)


def pytest_addoption(parser):
    parser.addoption(
        "--parity-report",
        metavar="R.json",
        help="write case, tolerance and measured error of every comparison with the golden "
        "cases to R.json, and fail if a case of the folder was not compared",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Puts the longest tests at the front of each half: two workers begin with a half each."""
    long = [item for name in LONGEST for item in items if item.name == name]
    short = [item for item in items if item not in long]
    middle = len(items) // 2 - len(long[::2])
    items[:] = long[::2] + short[:middle] + long[1::2] + short[middle:]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Sets how well programs are compiled, before the fixtures that compile."""
    quick = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0" and (
        FULLY_OPTIMISED not in item.path.parents
    )
    if jax.config.read(QUICK) != quick:
        jax.config.update(QUICK, quick)
        jax.clear_caches()


@pytest.fixture(autouse=True)
def parity_records(request):
    """Hands a test's comparisons to the process that writes the report."""
    golden.RECORDS.clear()
    yield
    request.node.user_properties.append(("parity", list(golden.RECORDS)))


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        REPORT.extend(
            row for name, rows in report.user_properties if name == "parity" for row in rows
        )


def _uncompared() -> list[str]:
    if golden.FOLDER is None:
        return [golden.REASON]
    cases = {path.stem for path in pathlib.Path(golden.FOLDER).glob("*.json")}
    return sorted(cases - {row["case"] for row in REPORT})


def pytest_sessionfinish(session):
    path = session.config.getoption("--parity-report")
    if path is None or hasattr(session.config, "workerinput"):
        return
    missing = _uncompared()
    report = {"cases_not_compared": missing, "comparisons": REPORT}
    pathlib.Path(path).write_text(json.dumps(report, indent=1) + "\n")
    if missing and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--parity-report") and (missing := _uncompared()):
        terminalreporter.section("golden cases that no test compared", red=True)
        terminalreporter.write_line(", ".join(missing))
