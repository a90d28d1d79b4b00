"""Settings shared by all tests."""

import json
import os
import pathlib

import pytest

# Two devices' programs abort on two cores by a rendezvous timeout if dispatched asynchronously.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=1")

from tests.parity import golden

REPORT: list[dict] = []


def pytest_addoption(parser):
    parser.addoption(
        "--parity-report",
        metavar="R.json",
        help="write case, tolerance and measured error of every comparison with the golden "
        "cases to R.json, and fail if a case of the folder was not compared",
    )


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
