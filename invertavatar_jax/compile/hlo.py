"""Reads the text of a program (XLA's HLO): computations and their instructions."""

import re
from typing import NamedTuple

import numpy as np

_SHAPE = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](\{[^{}]*\})?")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) (\(.* -> .*)?\{$")
# compiled programs' names begin with %, and operands may have a type before it
_NAME = re.compile(r"(?:^|, |\{|%|\*/)([a-zA-Z_][\w.\-]*)(?=,|\}|$)")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|[%\w.\-]+)")
_ON_CHIP = re.compile(r"S\([12]\)")  # a TPU's own memories; nothing is read from the large one
_BITS = re.compile(r"(\d+)")


class Shape(NamedTuple):
    """One array of a result."""

    dtype: str
    dims: tuple[int, ...]
    on_chip: bool

    @property
    def elements(self) -> int:
        return int(np.prod(self.dims, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """In the device's large memory."""
        return 0 if self.on_chip else self.elements * element_bits(self.dtype) // 8


class Instruction(NamedTuple):
    """One line: `name = shapes opcode(operands), attributes`."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # several for a tuple
    operands: tuple[str, ...]
    literal: str  # between the parentheses: operands, or a constant's value
    attributes: str
    is_root: bool

    @property
    def bytes(self) -> int:
        return sum(shape.bytes for shape in self.shapes)

    def called(self, *kinds: str) -> list[str]:
        """The computations that attributes of these names refer to, e.g. "body"."""
        found = _CALLED.findall(self.attributes)
        return [name for kind, text in found if kind in kinds for name in _NAME.findall(text)]


Computation = dict[str, Instruction]


class Module(NamedTuple):
    """A program: every computation by name, and the one that it starts with."""

    computations: dict[str, Computation]
    entry: str


def element_bits(dtype: str) -> int:
    """Of one number, e.g. 32 for f32; 0 for tokens."""
    if dtype == "pred":
        return 8
    bits = _BITS.search(dtype)
    return int(bits.group(1)) if bits else 0


def parse(text: str) -> Module:
    """The computations of a program's text, as Lowered and Compiled of jax.stages give it.

    Raises:
        ValueError: it holds no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, current = None, None
    for line in text.splitlines():
        if not line.startswith(" "):
            if (header := _HEADER.match(line)) is not None:
                current = computations[header.group(2)] = {}
                entry = header.group(2) if header.group(1) else entry
        elif current is not None and (found := _instruction(line.strip())) is not None:
            current[found.name] = found
    if entry is None:
        raise ValueError("got a text without an entry computation, expected a program's")
    return Module(computations, entry)


def _instruction(line: str) -> Instruction | None:
    name, equals, rest = line.partition(" = ")
    if not equals:
        return None
    is_root = name.startswith("ROOT ")
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    types, rest = rest[:end], rest[end:].lstrip()
    begin = rest.index("(")
    end = _closing(rest, begin)
    literal = rest[begin + 1 : end]
    return Instruction(
        name.removeprefix("ROOT ").lstrip("%"),
        rest[:begin],
        tuple(_shapes(types)),
        tuple(_NAME.findall(literal)),
        literal,
        rest[end + 1 :],
        is_root,
    )


def _closing(text: str, begin: int) -> int:
    """Where the parenthesis that opens at `begin` closes."""
    depth = 0
    for match in re.finditer(r"[()]", text[begin:]):
        depth += 1 if match.group() == "(" else -1
        if depth == 0:
            return begin + match.start()
    raise ValueError(f"got an instruction whose parentheses do not match: {text[:80]}")


def _shapes(text: str):
    for dtype, dims, layout in _SHAPE.findall(text):
        numbers = tuple(int(n) for n in dims.replace("<=", "").split(",") if n)
        yield Shape(dtype, numbers, _ON_CHIP.search(layout) is not None)
