"""What a pickle has built so far: its stack, marks and memo, with every step checked."""

from collections.abc import Callable
from typing import Any

from invertavatar_jax.convert import allowed
from invertavatar_jax.convert.limits import MAX_TEXT, Budget
from invertavatar_jax.convert.span import Span
from invertavatar_jax.convert.values import Refused

# Bytes that Python takes for one of each, rounded up.
SLOT, TEXT, NUMBER, ENTRY, OBJECT = 16, 80, 48, 120, 280
_KEYS = (str, int, type(None))  # of dictionaries; others could be made to collide
_EXACT = 2**60  # integers below it hash to themselves

Persistent = Callable[[Any, int], Any]  # the value of an id, and where it stands


class Stack:
    """The state of reading one pickle.

    Args:
        source: stands at the pickle's first byte; at its end it stands behind STOP.
        budget: shared by all pickles of a file.
        context: what the functions of `allowed.FUNCTIONS` may use.
        persistent: gives persistent ids their value; None refuses them.
    """

    def __init__(
        self,
        source: Span,
        budget: Budget,
        context: allowed.Context,
        persistent: Persistent | None = None,
    ):
        self.source, self.budget, self.context = source, budget, context
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.at = source.offset  # of the current opcode
        self.name = "the first opcode"  # of the current opcode

    def refuse(self, what: str) -> Refused:
        """An error at the current opcode."""
        return Refused(self.at, f"opcode {self.name} {what}")

    def push(self, value: Any, cost: int) -> None:
        """Adds a value that takes `cost` bytes beside its place on the stack."""
        budget = self.budget
        budget.bytes -= cost + SLOT
        if budget.bytes < 0:
            budget.pay(0, self.at, f"opcode {self.name}")
        self.stack.append(value)

    def pop(self) -> Any:
        """Takes the last value off, if it came after the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.refuse("takes a value that is not there")
        return self.stack.pop()

    def top(self, kind: type | tuple[type, ...], what: str) -> Any:
        """The last value, which stays; it is of this kind."""
        value = self.pop()
        if not isinstance(value, kind):
            raise self.refuse(f"expects {what}, found {allowed.kind_of(value)}")
        self.stack.append(value)
        return value

    def pop_mark(self) -> list[Any]:
        """Takes off everything after the last mark, and the mark."""
        if not self.marks:
            raise self.refuse("has no mark to go back to")
        begin = self.marks.pop()
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def add_items(self, target: dict, items: list[Any]) -> None:
        """Puts key, value, key, value, ... into a dictionary."""
        if len(items) % 2:
            raise self.refuse("has a key without a value")
        self.budget.pay(ENTRY * len(items) // 2, self.at, f"opcode {self.name}")
        for i in range(0, len(items), 2):
            target[self.key(items[i])] = items[i + 1]

    def key(self, value: Any) -> Any:
        """A key of a dictionary or a member of a set, of the few kinds that are allowed."""
        if not isinstance(value, _KEYS) or (isinstance(value, int) and abs(value) >= _EXACT):
            raise self.refuse(f"has a key that is {allowed.kind_of(value)}; expected text")
        return value

    def text(self, count: int) -> str:
        """The next `count` bytes as UTF-8."""
        if count > MAX_TEXT:
            raise self.refuse(f"declares {count} bytes of text; {MAX_TEXT} is the most")
        data = bytes(self.source.take(count, f"opcode {self.name}"))
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise self.refuse("holds text that is not UTF-8") from None
