"""Frozen networks that judge pictures in losses: LPIPS and ArcFace, from files that users give."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import weights as weights_files
from invertavatar_jax.convert import checkpoint
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights, pure
from invertavatar_jax.supervise import identity, losses, perceptual

PERCEPTUAL = ("alex", "vgg", "gradients", "off")
IDENTITY = ("arcface", "off")
RANDOM = "random"  # in place of a file's name
_PARTS = ("lpips_classifier", "lpips_heads")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which critics a stage has.

    Attributes:
        perceptual: "alex" or "vgg": LPIPS on that classifier; "gradients": L1 between image
            gradients at several scales in its place, which needs no file; "off": the terms
            lpips and lr_lpips are left out.
        perceptual_files: the classifier's and LPIPS's heads, in any order, as published or
            converted; () for the others; (RANDOM,) draws the weights, which measures what a
            step costs and trains nothing.
        identity: "arcface", or "off": the term id is left out.
        identity_file: ArcFace's IR-SE-50, as published or converted; "" for "off"; RANDOM as
            above.
    """

    perceptual: str
    perceptual_files: tuple[str, ...]
    identity: str
    identity_file: str


Judge = Callable[[Weights, Array, Array], Float[Array, ""]]  # weights of `read`, got, wanted


class Critics(NamedTuple):
    """Distances of two batches of pictures in [-1, 1]; None where a critic is off."""

    read: Callable[[], Weights]  # the frozen weights, by critic
    perceptual: Judge | None
    identity: Judge | None
    replaced: Mapping[str, str]  # terms in whose place others stand -> the others' names


def make(own: Settings) -> Critics:
    """The critics of a stage; files are read by `read`.

    Raises:
        UserError: a critic needs files and none are named.
        ValueError: there is no such critic.

    Source: paper A.2; TRAINING B.
    """
    _check("perceptual", own.perceptual, PERCEPTUAL)
    _check("identity", own.identity, IDENTITY)
    learned = own.perceptual in perceptual.CLASSIFIERS
    drawn = own.perceptual_files == (RANDOM,)
    if learned and not drawn and len(own.perceptual_files) != len(_PARTS):
        raise UserError(
            f"settings.critics.perceptual is {own.perceptual!r}, which needs two files: name "
            "torchvision's classifier and LPIPS's heads in settings.critics.perceptual_files, or "
            "set perceptual to 'gradients' (a replacement without weights) or 'off'."
        )
    if own.identity == "arcface" and not own.identity_file:
        raise UserError(
            "settings.critics.identity is 'arcface', which needs a file: name ArcFace's "
            "model_ir_se50.pth in settings.critics.identity_file, or set identity to 'off'."
        )

    def read() -> Weights:
        found: Weights = {}
        if learned:
            found["perceptual"] = _draw_lpips(own) if drawn else _read_lpips(own)
        if own.identity == "arcface":
            found["identity"] = _read_identity(own.identity_file)
        return found

    by_gradients = {"lpips": "gradients", "lr_lpips": "lr_gradients"}
    replaced = by_gradients if own.perceptual == "gradients" else {}
    return Critics(read, _perceptual(own.perceptual), _identity(own.identity), replaced)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        expected = ", ".join(known)
        raise ValueError(f"critics.{name}: got {value!r}, expected one of {expected}")


def _perceptual(kind: str) -> Judge | None:
    if kind == "off":
        return None
    if kind == "gradients":
        return lambda weights, got, wanted: losses.gradient_l1(got, wanted)
    network = pure(perceptual.LPIPS(kind))
    return lambda weights, got, wanted: network.apply(weights["perceptual"], got, wanted).mean()


def _identity(kind: str) -> Judge | None:
    if kind == "off":
        return None
    network = pure(identity.IdentityNet())

    def judge(weights, got, wanted):
        features = lambda x: network.apply(weights["identity"], identity.crop_face(x))
        return identity.identity_loss(features(got), features(wanted))

    return judge


def read_network(path: str, *expected: str) -> Weights:
    """The weights of a published file, or of one that `./avatar convert` made of it.

    Args:
        expected: names of the networks that it may hold; see convert.released.KINDS.

    Raises:
        UserError: the file is refused or holds another network.
    """
    return _read(path, *expected)[1]


def _read(path: str, *expected: str) -> tuple[str, Weights]:
    if Path(path).suffix == ".safetensors":
        arrays, details = weights_files.load_network(path)
        name = details.get("network", weights_files.WHOLE)
    else:
        source = checkpoint.open_source(path)
        name = source.kind.name if source.kind else "of an unknown kind"
        arrays = checkpoint.read_weights(source) if name in expected else {}
    if name not in expected:
        wanted = " or ".join(expected)
        raise UserError(f"{path} holds the network {name}; expected {wanted}: name another file.")
    return name, arrays


def _read_identity(path: str) -> Weights:
    if path != RANDOM:
        return read_network(path, "identity")
    return pure(identity.IdentityNet()).init(jax.random.key(0), jnp.zeros((1, 112, 112, 3)))


def _draw_lpips(own: Settings) -> Weights:
    image = jnp.zeros((1, 64, 64, 3))
    return pure(perceptual.LPIPS(own.perceptual)).init(jax.random.key(0), image, image)


def _read_lpips(own: Settings) -> Weights:
    parts = dict(_read(path, *_PARTS) for path in own.perceptual_files)
    found = {name: tree for part in parts.values() for name, tree in part["params"].items()}
    expected = jax.eval_shape(lambda: _draw_lpips(own))["params"]
    sizes = lambda tree: {
        jax.tree_util.keystr(path): np.shape(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    if sizes(found) != sizes(expected):
        raise UserError(
            f"{' and '.join(own.perceptual_files)} do not make LPIPS on {own.perceptual!r}: "
            "give that classifier and the heads that were published for it."
        )
    return {"params": found, "buffers": {}}
