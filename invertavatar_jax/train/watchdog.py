"""Ends a process that is stuck, and says where it was, instead of letting it hang."""

import datetime
import faulthandler
import os
import pathlib
import threading

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed another time
_CHECKS = 8  # in the time limit, at least: how finely it is kept
_BACKSTOP = 3  # times the limit, after which faulthandler takes over
_STDERR = 2


class Watchdog:
    """Watches for beats from a thread. Use as a context manager around the training loop.

    Without a beat for the time limit it writes the Python stacks of all threads to stuck.txt
    in the folder, prints one sentence and ends the process with EXIT_CODE. Where native code
    keeps Python's lock, so that no thread can run, faulthandler prints the stacks to stderr
    and ends the process with code 1, after three times the limit. A process that was stopped
    (SIGSTOP) for less than that is not taken for stuck.
    """

    def __init__(
        self, limit_s: float, folder: str | pathlib.Path, *, first_limit_s: float | None = None
    ):
        """Sets the limits; watching begins when the context is entered.

        Args:
            limit_s: between beats, with some steps' room for a slow one.
            first_limit_s: until the first beat, which waits for the compiler; the default is
                an hour, or `limit_s` if that is longer.
        """
        self._limit_s = limit_s
        self._allowed_s = max(limit_s, 3600.0) if first_limit_s is None else first_limit_s
        self._path = pathlib.Path(folder) / "stuck.txt"
        self._beats = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def beat(self, next_limit_s: float | None = None) -> None:
        """Says that the loop is alive.

        Args:
            next_limit_s: until the next beat, where it will take longer than usual, as when
                another program is to be compiled.
        """
        self._allowed_s = self._limit_s if next_limit_s is None else next_limit_s
        self._beats += 1

    def _watch(self) -> None:
        seen, silent_s = 0, 0.0
        while True:
            beats, allowed_s = self._beats, self._allowed_s
            tick_s = min(allowed_s / _CHECKS, 1.0)
            faulthandler.dump_traceback_later(_BACKSTOP * allowed_s, exit=True, file=_STDERR)
            if self._done.wait(tick_s):
                break
            # ticks are counted, not the clock's seconds: it goes on while a process is stopped
            silent_s = silent_s + tick_s if beats == seen else tick_s
            seen = beats
            if self._beats == seen and silent_s >= allowed_s:
                self._end(allowed_s)
        faulthandler.cancel_dump_traceback_later()

    def _end(self, allowed_s: float) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        head = f"{now}: no sign of life for {allowed_s:g} s after {self._beats} beats\n"
        where = f"where every thread was stands in {self._path}"
        try:
            with self._path.open("a") as file:
                file.write(head)
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError as error:
            where = f"{self._path} could not be written ({error.strerror}), so it stands above"
            faulthandler.dump_traceback(_STDERR, all_threads=True)
        sentence = (
            f"training is stuck: no step ended within {allowed_s:g} s, so the process ends with "
            f"code {EXIT_CODE}; {where}; run the same command again to go on from the last "
            "checkpoint.\n"
        )
        os.write(_STDERR, sentence.encode())
        os._exit(EXIT_CODE)
