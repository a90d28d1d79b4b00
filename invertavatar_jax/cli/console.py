"""What a verb says while it works: named steps with their seconds, and progress bars.

Everything here goes to stderr; a verb's result goes to stdout.
"""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
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
        from tqdm import tqdm

        bar = tqdm(
            items,
            desc=name,
            total=total,
            delay=BAR_AFTER_S,
            leave=False,
            file=sys.stderr,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
        )
        yield from bar

    def bar(self, name: str, total: int | None = None) -> Any:
        """A progress bar to be moved by hand: `with console.bar(...) as bar: bar.update(1)`."""
        from tqdm import tqdm

        return tqdm(desc=name, total=total, delay=BAR_AFTER_S, leave=False, file=sys.stderr)

    def say(self, text: str) -> None:
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)


def table(value: Any, indent: str = "") -> str:
    """A result in words: one line per entry, nested ones indented."""
    lines = []
    for name, entry in value.items():
        if isinstance(entry, dict):
            lines += [f"{indent}{name}:", table(entry, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {entry}")
    return "\n".join(lines)
