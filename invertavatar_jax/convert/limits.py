"""How much a file may ask for: work and memory are paid from one budget per file."""

from dataclasses import dataclass

from invertavatar_jax.convert.values import Refused

# The largest released snapshot takes a third of these.
MAX_OPCODES = 1_000_000
MAX_BYTES = 112 * 2**20  # of Python objects; the arrays stay in the file
MAX_NAME = 256  # characters of a module or class name
MAX_TEXT = 4 * 2**20  # bytes of one string: a snapshot holds the text of its modules
MAX_INTEGER = 32  # bytes of one integer
MAX_NESTED = 3  # pickles inside pickles
MAX_ENTRIES = 100_000  # files in an archive, arrays in a checkpoint
MAX_DEPTH = 64  # of modules in modules, lists in lists


@dataclass(slots=True)
class Budget:
    """What is left for a file, nested pickles included."""

    opcodes: int = MAX_OPCODES
    bytes: int = MAX_BYTES
    nested: int = 0

    def pay(self, count: int, offset: int, name: str) -> None:
        """Takes `count` bytes of memory off.

        Raises:
            Refused: the budget is used up.
        """
        self.bytes -= count
        if self.bytes < 0:
            raise Refused(
                offset,
                f"{name} goes beyond the {MAX_BYTES >> 20} MiB of objects that a checkpoint "
                "may hold besides its arrays",
            )
