"""What a verb says while it works: named steps with their seconds, and progress bars.

Everything here goes to stderr; a verb's result goes to stdout.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
BAR_AFTER_S = 2.0  # shorter steps show no bar


class Console:
    """Times the steps of one run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._device = ""

    def device(self, name: str) -> str:
        """Starts JAX and returns the device in words, e.g. "cpu: 2 cores".

        Raises:
            UserError: JAX finds no device of this kind.
        """
        from invertavatar_jax.cli import devices

        self._device = devices.describe(name)
        return self._device

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Prints the name and, at the end, the seconds; they are added to `seconds`."""
        begin = time.perf_counter()
        self.say(f"{name} ...")
        yield
        spent = time.perf_counter() - begin
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
        self.say(f"{name}: {spent:.2f} s" + (f" on {self._device}" if self._device else ""))

    def each(self, name: str, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Passes items on under a progress bar, which shows once it takes over two seconds."""
        yield from _bar(items, desc=name, total=total)

    @contextlib.contextmanager
    def stages(self) -> Iterator[Callable[[str, int], None]]:
        """Gives a function to call with a stage's name and how much of it is done."""
        bars: dict[str, Any] = {}

        def progress(stage: str, done: int) -> None:
            if stage not in bars:
                bars[stage] = _bar(desc=stage)
            bars[stage].update(done - bars[stage].n)

        try:
            yield progress
        finally:
            for bar in bars.values():
                bar.close()

    def say(self, text: str) -> None:
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)


def _bar(items: Iterable | None = None, **options: Any) -> Any:
    from tqdm import tqdm

    often = 0.2 if sys.stderr.isatty() else 10.0  # seconds; a log file needs few lines
    return tqdm(
        items, delay=BAR_AFTER_S, leave=False, file=sys.stderr, mininterval=often, **options
    )


def table(value: Any, indent: str = "") -> str:
    """A result in words: one line per entry, nested ones indented."""
    lines = []
    for name, entry in value.items():
        if isinstance(entry, dict):
            lines += [f"{indent}{name}:", table(entry, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {entry}")
    return "\n".join(lines)
