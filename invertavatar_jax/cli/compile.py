"""`avatar compile`: compiles the program for accelerators that are not there; says its cost."""

import argparse
import shlex
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertavatar_jax import settings
from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.compile import targets
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files

if TYPE_CHECKING:
    from invertavatar_jax.compile.programs import Request

COMPILERS = {"cpu": "jaxlib", "cuda": "jax-cuda13-plugin", "tpu": "libtpu"}  # packages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config, --target, --programs, --quick, --compute, --memory-gib and --out."""
    parser.add_argument(
        "--config",
        metavar="PRESET|FILE[:VARIANT]",
        default="paper",
        help="a preset of `avatar info`, or a training run's file of configs/ (paper)",
    )
    parser.add_argument(
        "--target", required=True, choices=targets.TARGETS, help="devices to compile for"
    )
    parser.add_argument(
        "--programs",
        default="reconstruct,animate",
        metavar="NAME,NAME",
        help="of reconstruct, animate and train; train needs a FILE (reconstruct,animate)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="optimise less: sooner, and more bytes moved"
    )
    parser.add_argument(
        "--compute",
        choices=settings.COMPUTE,
        default="float32",
        help="numbers that reconstruct and animate compute with (float32)",
    )
    parser.add_argument(
        "--memory-gib", type=float, help="fail beyond this per device (what the device has)"
    )
    parser.add_argument(
        "--out", metavar="REPORT.json", required=True, help="the report; a table goes beside it"
    )


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Compiles, writes REPORT.json and REPORT.md after every program, and returns the report."""
    out = options.output_path(args.out, ".json", "--out")
    target = targets.find(args.target)
    targets.prepare(target, quick=args.quick)
    import jax

    from invertavatar_jax.compile import mesh, programs, report

    request = _request(args.config)._replace(compute=args.compute)
    makers = programs.choose(args.programs.split(","))
    rows: list[dict[str, Any]] = []
    made = {
        "config": Path(args.config).name,
        "parameters": programs.parameters(request.sizes),
        "target": {"name": args.target, **target._asdict()} | _device(target),
        "jax": jax.__version__,
        "compiler": _version(COMPILERS[targets.DEVICES[target.device].platform]),
        "command": _command(args),
        "finished": False,
        "programs": rows,
    }
    spread = mesh.make_mesh(target)
    for maker in makers:
        for program in maker(request, spread):
            with console.step(f"compile {program.name}"):
                rows.append(report.measure(program, target))
            console.say(report.words(rows[-1]))
            _write(out, made, report.markdown(made))  # now: the next may take all the memory
    made["finished"] = True
    _write(out, made, report.markdown(made))
    limit = targets.DEVICES[target.device].memory_bytes
    if args.memory_gib is not None:
        limit = int(args.memory_gib * 2**30)
    report.check_memory(rows, limit, target.device)
    return made | {"programs": {row["name"]: row for row in rows}}


def _write(out: Path, made: dict[str, Any], page: str) -> None:
    files.write_json(out, made)
    files.write_text(out.with_suffix(".md"), page)


def _request(config: str) -> "Request":
    """What the option says.

    Raises:
        UserError: there is no such preset or file.
    """
    from invertavatar_jax.cli import train
    from invertavatar_jax.compile.programs import Request

    if config.partition(":")[0].endswith(".py"):
        training = train.read_config(config)
        return Request(settings.preset(training.preset), training)
    if config not in settings.PRESETS:
        known = ", ".join(settings.PRESETS)
        raise UserError(f"--config {config}: expected {known}, or a file of configs/.")
    return Request(settings.preset(config))


def _device(target: targets.Target) -> dict[str, Any]:
    facts = targets.DEVICES[target.device]._asdict()
    return {name: value for name, value in facts.items() if name != "platform"}


def _version(package: str) -> str:
    return f"{package} {metadata.version(package)}"


def _command(args: argparse.Namespace) -> str:
    """The command line, without what has its usual value."""
    words = ["./avatar", "compile", "--config", args.config, "--target", args.target]
    words += ["--programs", args.programs, "--out", args.out]
    if args.quick:
        words.append("--quick")
    if args.compute != "float32":
        words += ["--compute", args.compute]
    if args.memory_gib is not None:
        words += ["--memory-gib", str(args.memory_gib)]
    return shlex.join(words)
