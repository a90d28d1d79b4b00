"""`avatar export`: the program's steps as files that JAX alone runs."""

import argparse
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    parser.add_argument(
        "--config", metavar="PRESET", default="small", help="a preset of `avatar info` (small)"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="where the files go")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Writes a file per step, and returns their sizes and what each is lowered for."""
    from invertavatar_jax import settings
    from invertavatar_jax.export import programs

    out = options.output_folder(args.out)
    if args.config not in settings.PRESETS:
        known = ", ".join(settings.PRESETS)
        raise UserError(f"--config {args.config}: expected one of {known}.")
    console.device(args.device)
    with console.step("export"):
        exported = programs.export_steps(settings.preset(args.config))
        paths = programs.write(out, exported)
    return {
        "platforms": list(programs.PLATFORMS),
        "bytes": {path.name: path.stat().st_size for path in paths},
        "seconds": console.seconds,
    }
