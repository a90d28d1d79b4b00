"""`./avatar` makes its environment once, and again when the requirements change.

A stand-in for Python logs how it is called, so that nothing is installed here.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "dirname", "cat", "cksum", "mkdir", "cp", "chmod", "rm")
FAKE_PYTHON = """#!/bin/sh
echo "$@" >>"$CALLS"
case "$*" in
*-m\\ venv*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
*-m\\ pip*) exit "${PIP_FAILS:-0}" ;;
*invertavatar_jax*) echo "ran with $MALLOC_TOP_PAD_ in $PWD" ;;
*bytecode*) echo "in $PYTHONPYCACHEPREFIX, ${PYTHONDONTWRITEBYTECODE-allowed}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts, and a PATH with the stand-in as its only Python."""
    if not (ROOT / "avatar").exists() or shutil.which("sh") is None:
        pytest.skip("needs a checkout and a shell")
    folder, tools = tmp_path / "check out", tmp_path / "bin"
    folder.mkdir()
    tools.mkdir()
    for name in ("avatar", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / name, folder / name)
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    python = tools / "python3.11"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return folder


def run(checkout: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {"PATH": str(checkout.parent / "bin"), "CALLS": str(checkout.parent / "calls")}
    return subprocess.run(
        [str(checkout / "avatar"), *argv],
        env=variables | environment,
        cwd=checkout.parent,
        capture_output=True,
        text=True,
    )


def installs(checkout: Path) -> int:
    calls = checkout.parent / "calls"
    return calls.read_text().count("-m pip install") if calls.exists() else 0


def test_the_first_run_installs_and_the_second_does_not(checkout):
    first = run(checkout, "info")
    assert first.returncode == 0, first.stderr
    assert "making the Python environment" in first.stderr
    assert first.stdout == f"ran with 268435456 in {checkout.parent}\n"
    second = run(checkout, "info")
    assert second.stderr == "" and second.stdout == first.stdout
    assert installs(checkout) == 1


def test_changed_requirements_are_installed_again(checkout):
    run(checkout, "info")
    with (checkout / "requirements.txt").open("a") as file:
        file.write("another==1\n")
    run(checkout, "info")
    run(checkout, "info")
    assert installs(checkout) == 2


def test_a_development_install_serves_the_program_too(checkout):
    assert run(checkout, "setup", "requirements-dev.txt").returncode == 0
    run(checkout, "info")
    assert installs(checkout) == 1


def test_compilers_of_accelerators_are_kept_apart(checkout):
    first = run(checkout, "compile")
    assert first.returncode == 0 and "in .venv-compile" in first.stderr
    assert run(checkout, "compile").stderr == "" and installs(checkout) == 1
    assert not (checkout / ".venv").exists()


def test_a_failed_installation_is_tried_again(checkout):
    failed = run(checkout, "info", PIP_FAILS="1")
    assert failed.returncode == 1 and "pip could not install" in failed.stderr
    assert failed.stdout == ""
    assert run(checkout, "info").returncode == 0
    assert installs(checkout) == 2


def test_the_users_allocator_settings_win(checkout):
    assert "ran with 7 in" in run(checkout, "info", MALLOC_TOP_PAD_="7").stdout


def test_bytecode_is_kept_in_the_environment_where_it_is_forbidden_beside_sources(checkout):
    said = run(checkout, "python", "-c", "bytecode", PYTHONDONTWRITEBYTECODE="1").stdout
    assert said == f"in {checkout}/.venv/bytecode, allowed\n"


def test_without_a_python_that_fits_the_sentence_says_which(checkout):
    (checkout.parent / "bin" / "python3.11").unlink()
    failed = run(checkout, "info")
    assert failed.returncode == 1
    assert "no Python 3.11 or 3.12" in failed.stderr and failed.stdout == ""
    assert not (checkout / ".venv").exists()


def test_an_unknown_requirements_file_is_told(checkout):
    failed = run(checkout, "setup", "none.txt")
    assert failed.returncode == 2 and "no requirements file none.txt" in failed.stderr


def test_check_and_ci_name_what_exists():
    assert "exec ./check" in (ROOT / ".ci" / "run").read_text()
    for script in ("avatar", "check", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK)
        assert subprocess.run(["sh", "-n", str(ROOT / script)]).returncode == 0
