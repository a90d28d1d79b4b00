"""`avatar export-weights`: the weights of one checkpoint of a run, as users load them."""

import argparse
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.cli.train import read_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, --out and --step."""
    parser.add_argument("run", metavar="RUN", help="folder of a run, which may be going on")
    parser.add_argument("--out", metavar="FILE", required=True, help="FILE.safetensors to write")
    parser.add_argument("--step", type=int, help="of the checkpoint (the newest)")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Writes the weights and returns their step and hash."""
    from invertavatar_jax.export import tensors
    from invertavatar_jax.train import runs

    out = options.output_path(args.out, ".safetensors", "--out")
    device = console.device(args.device)
    with console.step("export-weights"):
        begun = runs.settings_of(args.run, same_mesh=False).weights
        weights = read_weights(begun) if begun and Path(begun).exists() else None
        step = runs.export_weights(args.run, out, step=args.step, weights=weights)
    return {
        "step": step,
        "weights": str(out),
        "weights_sha256": tensors.sha256(out),
        "device": device,
        "seconds": console.seconds,
    }
