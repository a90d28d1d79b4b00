"""Stuck processes end and say where they were; signals ask for a stop between steps."""

import os
import signal
import subprocess
import sys
import time

import pytest

from invertavatar_jax.train.signals import StopRequest
from invertavatar_jax.train.watchdog import EXIT_CODE, Watchdog

HEAD = """
import ctypes, sys, time
from invertavatar_jax.train.watchdog import Watchdog
def wait_for_a_device_that_is_gone():
    {wait}
with Watchdog({limit}, {folder!r}, first_limit_s={first}) as dog:
    {before}
    wait_for_a_device_that_is_gone()
"""


def run_stuck(folder, wait="time.sleep(60)", limit=1.0, first=1.0, before="pass"):
    program = HEAD.format(folder=str(folder), wait=wait, limit=limit, first=first, before=before)
    begin = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return ended, time.monotonic() - begin


def test_a_stuck_process_ends_and_tells_where_it_was(tmp_path):
    ended, seconds = run_stuck(tmp_path)
    assert ended.returncode == EXIT_CODE and seconds < 20
    assert "no step ended within 1 s" in ended.stderr
    assert str(tmp_path / "stuck.txt") in ended.stderr
    assert "run the same command again" in ended.stderr
    assert "wait_for_a_device_that_is_gone" in (tmp_path / "stuck.txt").read_text()


def test_the_first_beat_has_its_own_limit(tmp_path):
    ended, _ = run_stuck(tmp_path, limit=0.5, first=60.0, before="dog.beat()")
    assert ended.returncode == EXIT_CODE
    assert "for 0.5 s after 1 beats" in (tmp_path / "stuck.txt").read_text()


def test_the_stacks_are_printed_where_no_file_can_be_written(tmp_path):
    ended, _ = run_stuck(tmp_path / "not_there", limit=0.5, first=0.5)
    assert ended.returncode == EXIT_CODE
    assert "wait_for_a_device_that_is_gone" in ended.stderr


def test_native_code_that_keeps_pythons_lock_is_stuck_too(tmp_path):
    ended, seconds = run_stuck(tmp_path, "ctypes.PyDLL(None).sleep(60)", limit=0.5, first=0.5)
    assert ended.returncode == 1 and seconds < 20
    assert "wait_for_a_device_that_is_gone" in ended.stderr


def test_a_loop_that_beats_lives(tmp_path):
    with Watchdog(0.4, tmp_path, first_limit_s=0.4) as dog:
        for _ in range(8):
            time.sleep(0.1)
            dog.beat()
        dog.beat(next_limit_s=60.0)
        time.sleep(0.6)
    time.sleep(0.5)  # and nothing watches what comes after
    assert not (tmp_path / "stuck.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested and stop.name == signal.Signals(number).name
    assert signal.getsignal(number) is before


@pytest.fixture
def interruptible():
    """SIGINT as in the foreground: jobs that were started in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_quits_at_once(interruptible):
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
