"""`avatar train`: trains networks as a configuration says; a stopped run goes on where it was."""

import argparse
import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertavatar_jax.cli import distributed, options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError

if TYPE_CHECKING:
    from invertavatar_jax.pure import Weights
    from invertavatar_jax.train.config import Training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config, --out, --minutes, --data, --weights and those of several processes."""
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
    parser.add_argument("--data", metavar="DIR", help="training data (the configuration's)")
    parser.add_argument(
        "--weights",
        metavar="FILE|RUN",
        help="weights to begin with: a file, or the folder of a run that has ended (the "
        "configuration's, or random ones)",
    )
    distributed.add_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Trains and returns the step reached and the hash of the weights written."""
    from invertavatar_jax.export import tensors

    out = options.output_folder(args.out)
    training = read_config(args.config, args.seed)
    changed = {name: value for name in ("data", "weights") if (value := getattr(args, name))}
    training = dataclasses.replace(training, **changed)
    distributed.join(args)
    device = console.device(args.device)
    from invertavatar_jax.train import loop

    begin = read_weights(training.weights) if training.weights else None
    with console.step("train"):
        state = loop.train(training, out, weights=begin, minutes=args.minutes)
    distributed.leave(args)
    shipped = out / loop.WEIGHTS
    return {
        "step": int(state.step),
        "weights": str(shipped),
        "weights_sha256": tensors.sha256(shipped) if shipped.exists() else None,
        "summary": str(out / "summary.html"),
        "device": device,
        "seconds": console.seconds,
    }


def read_weights(path: str) -> "Weights":
    """Weights to begin with, critics included, from a file or the folder of a run.

    Raises:
        UserError: there is no such file, or it holds no weights.
    """
    from invertavatar_jax import weights
    from invertavatar_jax.train import loop

    place = Path(path)
    if place.is_dir():
        place = place / loop.WEIGHTS
        if not place.exists():
            raise UserError(
                f"{path} holds no {loop.WEIGHTS}: its run has not ended; write them with "
                f"`./avatar export-weights {path} --out FILE`."
            )
    return weights.load_network(place)[0]


def read_config(text: str, seed: int | None = None) -> "Training":
    """Reads FILE[:VARIANT]; a seed replaces the configuration's.

    Raises:
        UserError: the file is missing, is no configuration, or has no such variant.
    """
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
