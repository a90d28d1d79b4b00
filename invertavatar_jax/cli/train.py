"""`avatar train`: trains networks as a configuration says; a stopped run goes on where it was."""

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError

if TYPE_CHECKING:
    from invertavatar_jax.train.config import Training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config, --out, --minutes and --weights."""
    parser.set_defaults(seed=None)  # the configuration's
    parser.add_argument(
        "--config",
        metavar="FILE[:VARIANT]",
        required=True,
        help="a file of configs/ and, after a colon, one of its variants",
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder of the run: checkpoints, log, weights"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time (no limit)"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights to begin with (random ones)")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Trains and returns the step reached and the hash of the weights written."""
    from invertavatar_jax import settings, weights
    from invertavatar_jax.export import tensors

    out = options.output_folder(args.out)
    training = read_config(args.config, args.seed)
    device = console.device(args.device)
    from invertavatar_jax.train import loop

    model = settings.preset(training.preset)
    begin, history = None, {}
    if args.weights:
        begin, _, before = weights.load(args.weights)
        history["began_with"] = {
            "weights_sha256": tensors.sha256(args.weights),
            "steps": before.get("steps"),
            "identities": before.get("identities"),
        }
    shipped = out / "weights.safetensors"
    ship = lambda trained, facts: weights.save(shipped, trained, model, facts | history)
    with console.step("train"):
        state = loop.train(
            training,
            out,
            start_from=begin,
            ship=ship,
            minutes=args.minutes,
        )
    return {
        "step": int(state.step),
        "weights": str(shipped),
        "weights_sha256": tensors.sha256(shipped),
        "device": device,
        "seconds": console.seconds,
    }


def read_config(text: str, seed: int | None = None) -> "Training":
    """Reads FILE[:VARIANT]; a seed replaces the configuration's.

    Raises:
        UserError: the file is missing, is no configuration, or has no such variant.
    """
    import dataclasses

    from invertavatar_jax.train import config

    file, _, variant = text.partition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--config {text}: there is no configuration file {file}.")
    spec = importlib.util.spec_from_file_location("chosen_config", path)
    assert spec is not None and spec.loader is not None  # the suffix is .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"--config {text}: {file} has no function get_config.")
    try:
        values = module.get_config(variant) if variant else module.get_config()
        training = config.parse(values)
    except ValueError as error:
        raise UserError(f"--config {text}: {error}") from error
    return dataclasses.replace(training, seed=seed) if seed is not None else training
