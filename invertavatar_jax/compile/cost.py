"""What a compiled program does in one call on one device: products, bytes, collectives.

XLA's own analysis counts the body of a loop once, however often it runs; this one multiplies.
"""

import functools
import re
from collections import Counter
from typing import NamedTuple

from invertavatar_jax.compile.hlo import Computation, Instruction, Module
from invertavatar_jax.compile.products import product_flops

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
_FREE = {
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_SLICES = ("dynamic-slice", "gather", "slice")  # they read as much as they give


class Cost(NamedTuple):
    """Of one device and one call."""

    flops: float  # of matrix products and convolutions; twice the multiplications
    bytes: float  # read and written in the device's large memory
    collectives: Counter  # executed, by kind
    moved: float  # bytes that the collectives give
    unknown_loops: int  # loops counted once because their length is not known

    def __add__(self, other: "Cost") -> "Cost":  # pyright: ignore[reportIncompatibleMethodOverride]
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, count: int) -> "Cost":
        """Of a loop's body."""
        executed = Counter({kind: n * count for kind, n in self.collectives.items()})
        return Cost(
            self.flops * count, self.bytes * count, executed, self.moved * count, self.unknown_loops
        )


NOTHING = Cost(0.0, 0.0, Counter(), 0.0, 0)


def count(module: Module) -> Cost:
    """The cost of a program."""

    @functools.cache
    def of(name: str) -> Cost:
        total = NOTHING
        computation = module.computations[name]
        for instruction in computation.values():
            total += _of_instruction(module, computation, instruction, of)
        return total

    return of(module.entry)


def _of_instruction(module: Module, computation: Computation, one: Instruction, of) -> Cost:
    opcode = one.opcode
    if opcode in _FREE or opcode.endswith(("-done", "-update")):
        return NOTHING
    if opcode == "while":
        body = of(one.called("body")[0]) + of(one.called("condition")[0])
        length = loop_length(module, one)
        if length is None:
            return body._replace(unknown_loops=body.unknown_loops + 1)
        return body.times(length)
    if opcode == "conditional":
        names = one.called("branch_computations", "calls", "to_apply")
        return max((of(name) for name in names), key=lambda cost: cost.bytes, default=NOTHING)
    if opcode in ("call", "async-start") or opcode.endswith("call-start"):
        return functools.reduce(Cost.__add__, map(of, one.called("calls", "to_apply")), NOTHING)
    if opcode == "fusion":
        inside = module.computations[one.called("calls")[0]]
        work = _fused_flops(module, inside), _fused_bytes(computation, one, inside)
        found = [_collective(inside, other) for other in inside.values()]
        return functools.reduce(Cost.__add__, found, NOTHING)._replace(flops=work[0], bytes=work[1])
    if opcode.removesuffix("-start") in COLLECTIVES:
        found = _collective(computation, one)
        return found._replace(bytes=2 * found.moved)
    work = product_flops(computation, one), _bytes(computation, one)
    return Cost(*work, Counter(), 0.0, 0)


def _collective(computation: Computation, one: Instruction) -> Cost:
    """One exchange between devices, with the bytes that it gives; NOTHING otherwise."""
    kind = one.opcode.removesuffix("-start")
    if kind not in COLLECTIVES:
        return NOTHING
    given = one.bytes
    if kind != one.opcode and kind != "all-reduce":  # the others' start gives its operands too
        given -= sum(computation[name].bytes for name in one.operands)
    return NOTHING._replace(collectives=Counter({kind: 1}), moved=max(given, 0))


def loop_length(module: Module, loop: Instruction) -> int | None:
    """How often a loop runs: as the compiler notes it, or as its condition compares."""
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted is not None:
        return int(noted.group(1))
    condition = module.computations[loop.called("condition")[0]]
    constants = [
        one.literal
        for one in condition.values()
        if one.opcode == "constant" and one.shapes[0].dtype.startswith("s")
    ]
    tests = [
        module.computations[name] for one in condition.values() for name in one.called("calls")
    ]
    compares = [
        one for part in (condition, *tests) for one in part.values() if one.opcode == "compare"
    ]
    compares = [one for one in compares if "direction=LT" in one.attributes]
    if len(constants) == len(compares) == 1 and constants[0].isdigit():
        return int(constants[0])
    return None


def _bytes(computation: Computation, one: Instruction) -> float:
    """Read and written by an instruction that is no fusion."""
    if one.opcode in _SLICES:
        return 2 * one.bytes
    if one.opcode == "dynamic-update-slice":
        return 2 * computation[one.operands[1]].bytes
    if one.opcode == "scatter":  # in place: the rows named are read, added to and written
        return 3 * computation[one.operands[-1]].bytes
    written = one.shapes[0].bytes if one.opcode == "copy-start" else one.bytes
    return written + sum(computation[name].bytes for name in set(one.operands))


def _fused_flops(module: Module, inside: Computation) -> float:
    total = 0.0
    for one in inside.values():
        if one.opcode == "fusion":
            total += _fused_flops(module, module.computations[one.called("calls")[0]])
        total += product_flops(inside, one)
    return total


def _fused_bytes(computation: Computation, fusion: Instruction, inside: Computation) -> float:
    """A fusion reads its operands, or the slices it takes of them, and writes its results."""
    users: dict[str, list[Instruction]] = {}
    for one in inside.values():
        for name in one.operands:
            users.setdefault(name, []).append(one)
    numbers = {int(p.literal): p for p in inside.values() if p.opcode == "parameter"}
    total = 0.0
    for i, name in enumerate(fusion.operands):
        whole = computation[name].bytes
        total += min(whole, _read(numbers[i].name, users, whole)) if i in numbers else whole
    root = next(one for one in inside.values() if one.is_root)
    results = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
    for shape, result in zip(fusion.shapes, results, strict=False):
        while result.opcode == "bitcast":
            result = inside[result.operands[0]]
        if result.opcode == "dynamic-update-slice":  # in place
            total += inside[result.operands[1]].shapes[0]._replace(on_chip=shape.on_chip).bytes
        else:
            total += shape.bytes
    return total


def _read(name: str, users: dict[str, list[Instruction]], whole: int) -> float:
    """How much of a fusion's operand is read by what uses it inside."""
    total = 0.0
    for user in users.get(name, []):
        if user.opcode == "bitcast":
            total += _read(user.name, users, whole)
        elif user.opcode in _SLICES and user.operands[0] == name:
            total += user.bytes
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
            continue  # overwritten in place
        else:
            return whole
    return total
