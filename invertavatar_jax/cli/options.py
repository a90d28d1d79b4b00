"""Options that several verbs share, and what they lead to."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from invertavatar_jax import settings
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError

if TYPE_CHECKING:
    from invertavatar_jax import avatar


class Loaded(NamedTuple):
    """A model, and which weights it has."""

    model: "avatar.Model"
    weights_path: Path
    weights_sha256: str
    facts: dict


def add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights FILE."""
    parser.add_argument(
        "--weights", metavar="FILE", help="weights of the networks (those of the package)"
    )


def add_head(parser: argparse.ArgumentParser) -> None:
    """--head FILE."""
    parser.add_argument(
        "--head",
        metavar="FILE",
        help="head model of the avatar: faceverse_v3_1.npy, a folder of ICT-FaceKit, or an npz "
        "of fit/build_head.py (that of the package)",
    )


def add_face(parser: argparse.ArgumentParser) -> None:
    """--face N, --allow-truncated."""
    parser.add_argument(
        "--face",
        type=int,
        metavar="N",
        help="which face to take where there are several, by size; 0 is the largest (0)",
    )
    parser.add_argument(
        "--allow-truncated", action="store_true", help="use what is readable of a broken video"
    )


def add_speed(parser: argparse.ArgumentParser) -> None:
    """--fast, --compute."""
    parser.add_argument(
        "--fast",
        action="store_true",
        help="a preview: a quarter of the rays, half the samples; says how near it comes",
    )
    parser.add_argument(
        "--compute",
        choices=settings.COMPUTE,
        default="float32",
        help="numbers that networks compute with (float32); tensorfloat32 and bfloat16 are "
        "faster and less exact on devices made for them",
    )


def load_model(args: argparse.Namespace, console: Console) -> Loaded:
    """Reads the weights and builds the networks.

    Raises:
        UserError: the weights are missing, damaged or of another program.
    """
    with console.step("load weights"):
        from invertavatar_jax import avatar, head_models, weights
        from invertavatar_jax.export import tensors

        path = Path(args.weights) if args.weights else weights.bundled_path()
        arrays, sizes, facts = weights.load(path)
        head = getattr(args, "head", None)
        head = None if head is None else head_models.open_head_model(head)
        compute = getattr(args, "compute", "float32")
        model = avatar.Model(sizes, arrays, head, compute=compute)
        return Loaded(model, path, tensors.sha256(path), facts)


def most_frames(asked: int | None, usual: int, loaded: Loaded) -> int:
    """How many frames an avatar is made of at most; one-shot networks read one."""
    if asked is not None:
        return asked
    return 1 if loaded.model.sizes.one_shot else usual


def output_path(text: str, suffix: str, name: str) -> Path:
    """A name for a file to be written, checked before any work is done.

    Args:
        name: of the option, for the message.

    Raises:
        UserError: another suffix, or a folder.
    """
    path = Path(text)
    if path.suffix.lower() != suffix:
        raise UserError(f"{name} {text}: expected a name that ends in {suffix}.")
    if path.is_dir():
        raise UserError(f"{name} {text} is a folder; give the name of a file to write.")
    return path


def output_folder(text: str) -> Path:
    """A folder for results; it is made when there is something to put in.

    Raises:
        UserError: there is a file of this name.
    """
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {text} is a file; give the name of a folder.")
    return path


def at_least_one(value: int | None, name: str) -> None:
    """Checks a count, where one is given.

    Raises:
        UserError: it is below 1.
    """
    if value is not None and value < 1:
        raise UserError(f"{name} {value}: expected 1 or more.")
