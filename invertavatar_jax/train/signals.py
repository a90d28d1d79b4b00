"""Asks a training run to stop between two steps."""

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Turns SIGTERM and the first SIGINT into a flag; a second SIGINT interrupts at once.

    Use as a context manager, in the main thread; the handlers from before come back at its end.
    With several processes each sees only its own signals: they have to agree on when to stop.
    """

    def __init__(self) -> None:
        self.name: str | None = None  # of the first signal, e.g. "SIGTERM"
        self._interrupts = 0
        self._before: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the loop should save and stop."""
        return self.name is not None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        if self.name is None:
            self.name = signal.Signals(number).name
            # past Python's stream, which the interrupted code may be writing to
            text = f"\n{self.name}: saving after this step; Ctrl-C twice quits at once.\n"
            os.write(2, text.encode())
