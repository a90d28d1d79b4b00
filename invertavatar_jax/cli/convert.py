"""`avatar convert`: a released checkpoint -> our weights; what it holds; and the way back."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --out, --network, --check, --inspect, --released."""
    parser.add_argument(
        "file", metavar="FILE", help="a snapshot (.pkl), a file of torch.save, or safetensors"
    )
    parser.add_argument("--out", metavar="W.safetensors", help="where the weights go")
    parser.add_argument(
        "--network",
        metavar="KEY",
        help="which network of a snapshot: G_ema, G, D, WD (G_ema, else G, else the largest)",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare names, shapes and counts with our networks'"
    )
    parser.add_argument(
        "--inspect", action="store_true", help="list arrays, classes and constructor arguments"
    )
    parser.add_argument(
        "--released",
        action="store_true",
        help="the way back: FILE holds our weights, --out gets the released names",
    )


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Does what was asked for and returns the report.

    Nothing that the file names is imported or called: it is read as data.
    """
    if not (args.out or args.check or args.inspect):
        raise UserError("nothing to do: give --out W.safetensors, --check or --inspect.")
    out = options.output_path(args.out, ".safetensors", "--out") if args.out else None
    if out is not None and out.exists() and out.samefile(args.file):
        raise UserError(f"--out {out} is the file to be read; give another name.")
    from invertavatar_jax.convert import checkpoint

    if args.released:
        return _go_back(args.file, out, console)
    result: dict[str, Any] = {}
    if args.inspect:
        with console.step("inspect"):
            result["content"] = checkpoint.inspect(args.file)
    if not args.check and out is None:
        return result
    with console.step("read"):
        source = checkpoint.open_source(args.file, args.network)
    result |= checkpoint.describe(source)
    result["check"] = checkpoint.report(source)
    if out is not None:
        with console.step("convert"):
            checkpoint.convert(source, out)
        result["out"], result["bytes"] = str(out), out.stat().st_size
    return result


def _go_back(path: str, out: Path | None, console: Console) -> dict[str, Any]:
    from invertavatar_jax.convert import checkpoint

    if out is None:
        raise UserError("--released needs --out: where the state dict goes.")
    with console.step("export"):
        result = checkpoint.export(path, out)
    return result | {"out": str(out), "bytes": out.stat().st_size}
