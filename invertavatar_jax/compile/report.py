"""Compiles programs and puts what the compiler says into numbers and words."""

import time
from typing import Any

import jax

from invertavatar_jax.compile import cost, hlo
from invertavatar_jax.compile.programs import Program
from invertavatar_jax.compile.targets import DEVICES, Device, Target
from invertavatar_jax.errors import UserError

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # as XLA's compilers say it


def measure(program: Program, target: Target) -> dict[str, Any]:
    """Compiles a program; everything is per device and call, in bytes and seconds.

    Raises:
        UserError: the compiler finds no way to fit it into the device's memory.
    """
    begin = time.perf_counter()
    lowered = program.jitted.lower(*program.arguments)
    traced, busy = time.perf_counter(), time.process_time()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if OUT_OF_MEMORY not in str(error):
            raise
        first = str(error).splitlines()[0]
        raise UserError(f"{program.name} does not fit into {target.device}: {first}") from error
    seconds = {
        "trace": traced - begin,
        "compile": time.perf_counter() - traced,
        "compile_cpu": time.process_time() - busy,
    }
    spent = cost.count(hlo.parse(compiled.as_text()))
    analysis = compiled.cost_analysis() or {}
    return {
        "name": program.name,
        "makes": program.does,
        "memory_bytes": _memory(compiled.memory_analysis(), program.held_bytes),
        "flops": spent.flops,
        "bytes": spent.bytes,
        "loops_of_unknown_length": spent.unknown_loops,
        "collectives": dict(sorted(spent.collectives.items())),
        "collective_bytes": spent.moved,
        "compute": program.compute,
        "roofline": roofline(spent, DEVICES[target.device], program.compute),
        "xla_counting_loops_once": {
            "flops": analysis.get("flops"),
            "bytes": analysis.get("bytes accessed"),
        },
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def _memory(stats: Any, held: int) -> dict[str, int]:
    arguments, outputs = stats.argument_size_in_bytes, stats.output_size_in_bytes
    temporary, aliased = stats.temp_size_in_bytes, stats.alias_size_in_bytes
    beside = max(0, held - arguments)  # what the program does not read
    alone = arguments + outputs - aliased + temporary + stats.generated_code_size_in_bytes
    return {
        "arguments": arguments,
        "held_beside": beside,
        "outputs": outputs,
        "outputs_in_place_of_arguments": aliased,
        "temporary": temporary,
        "code": stats.generated_code_size_in_bytes,
        "peak": alone + beside,
    }


def roofline(spent: cost.Cost, device: Device, compute: str) -> dict[str, Any] | None:
    """The shortest time that the device's peaks allow; None where they are not known.

    Args:
        spent: collectives are not in it: the wires between devices are not modelled.
        compute: the kind of its products, of device.flops_per_s.
    """
    if device.flops_per_s is None or device.bytes_per_s is None:
        return None
    products, memory = spent.flops / device.flops_per_s[compute], spent.bytes / device.bytes_per_s
    return {
        "compute_s": products,
        "memory_s": memory,
        "seconds": max(products, memory),
        "bound_by": "compute" if products > memory else "memory",
    }


def check_memory(rows: list[dict[str, Any]], limit: int | None, device: str) -> None:
    """Compares every program's peak with the memory of a device.

    Args:
        limit: bytes; None is not known, and nothing is checked.

    Raises:
        UserError: one needs more.
    """
    for row in rows:
        need = row["memory_bytes"]["peak"]
        if limit is not None and need > limit:
            raise UserError(
                f"{row['name']} needs {_words(need)} on each device, and {device} has "
                f"{_words(limit)}: take a smaller batch per device or a smaller preset."
            )


def _words(size: float) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20)):
        if size >= 2**bits:
            return f"{size / 2**bits:.2f} {unit}"
    return f"{size / 2**10:.2f} KiB"


def words(row: dict[str, Any]) -> str:
    """A program's row of the report in one line."""
    memory, least = row["memory_bytes"], row["roofline"]
    parts = [f"{_words(memory[name])} {name}" for name in ("arguments", "outputs", "temporary")]
    parts += [f"peak {_words(memory['peak'])}", f"{row['flops'] / 1e9:.1f} GFLOP"]
    parts += [f"{row['bytes'] / 1e9:.2f} GB moved", f"collectives: {_collectives(row)}"]
    if least:
        parts.append(f"at least {1e3 * least['seconds']:.2f} ms ({least['bound_by']})")
    return f"{row['name']}, per device: " + ", ".join(parts)


def _collectives(row: dict[str, Any]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in row["collectives"].items()) or "none"


def markdown(report: dict[str, Any]) -> str:
    """The report as a page: a line per program."""
    target = report["target"]
    lines = [
        f"# `{report['config']}` on {target['name']}",
        "",
        f"{target['count']} x {target['device']}: {target['source']}. Everything is per device "
        f"and call. Compiled by {report['compiler']} with jax {report['jax']}; "
        f"{report['parameters'] / 1e6:.1f} M parameters. Made by",
        "",
        "```sh",
        report["command"],
        "```",
        "",
        "| program | makes | arguments | outputs | temporary | peak | GFLOP | GB moved "
        "| collectives | at least | bound by | compile |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|--:|---|--:|",
    ]
    lines += map(_line, report["programs"])
    if not report["finished"]:
        lines += ["", "Not finished: the programs that follow were not compiled."]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    memory, least = row["memory_bytes"], row["roofline"]
    cells = [
        row["name"],
        row["makes"],
        *(_words(memory[name]) for name in ("arguments", "outputs", "temporary", "peak")),
        f"{row['flops'] / 1e9:.1f}",
        f"{row['bytes'] / 1e9:.2f}",
        _collectives(row),
        f"{1e3 * least['seconds']:.2f} ms" if least else "not known",
        least["bound_by"] if least else "not known",
        f"{row['seconds']['compile']:.0f} s",
    ]
    return "| " + " | ".join(cells) + " |"
