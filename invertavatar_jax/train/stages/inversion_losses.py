"""The terms that the encoder stages share, by name, and how near an avatar comes to a photo."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.generator import Rendered
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Weights
from invertavatar_jax.train.critics import Critics, Judge

Term = Callable[[], Float[Array, ""]] | None  # None: its critic is off
Terms = dict[str, Term]
Scales = Mapping[str, float]  # weights of terms by name; a term that is not there is left out


def scales(whole: Scales, adversarial: bool) -> Scales:
    """The weights, without that of the discriminator's term where it is not to count."""
    return {name: scale for name, scale in whole.items() if adversarial or name != "adv"}


def weigh(
    weights: Scales, terms: Terms, critics: Critics
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The weighted sum of the terms that have a weight, and each of them.

    Where other losses stand in a critic's place, they go by their own names.

    Raises:
        ValueError: a weight of a term that this loss has not.
    """
    if unknown := sorted(set(weights) - set(terms)):
        known = ", ".join(terms)
        raise ValueError(f"got weights of {', '.join(unknown)}, expected terms of {known}")
    wanted = {name: term for name, term in terms.items() if weights.get(name) and term is not None}
    values = {name: term() for name, term in wanted.items()}
    total = sum((weights[name] * value for name, value in values.items()), jnp.zeros(()))
    return total, {critics.replaced.get(name, name): value for name, value in values.items()}


def l1(got: Float[Array, "..."], wanted: Float[Array, "..."]) -> Float[Array, ""]:
    """Mean absolute difference."""
    return jnp.abs(got - wanted).mean()


def image_terms(
    critics: Critics,
    weights: Weights,
    got: Float[Array, "b h w 3"],
    wanted: Float[Array, "b h w 3"],
    side: int,
) -> Terms:
    """l1, lpips and id of pictures, resized to `side` pixels before.

    Args:
        weights: the critics'.

    Source: paper A.2; TRAINING B, C.
    """
    got, wanted = (resize_antialias(image, (side, side)) for image in (got, wanted))
    return {
        "l1": lambda: l1(got, wanted),
        "lpips": _judged(critics.perceptual, weights, got, wanted),
        "id": _judged(critics.identity, weights, got, wanted),
    }


def _judged(judge: Judge | None, weights: Weights, got: Array, wanted: Array) -> Term:
    return None if judge is None else lambda: judge(weights, got, wanted)


def photo_terms(
    critics: Critics, weights: Weights, got: Rendered, photo: Float[Array, "b h w 3"]
) -> Terms:
    """raw_l1 and lr_lpips: the volume's colours against the photo at their resolution."""
    wanted = resize_antialias(photo, got.raw.shape[1:3])
    return {
        "raw_l1": lambda: l1(got.raw, wanted),
        "lr_lpips": _judged(critics.perceptual, weights, got.raw, wanted),
    }


def feature_terms(critics: Critics, weights: Weights, got: Rendered, wanted: Rendered) -> Terms:
    """raw_l1, tri and lr_lpips: what lies below a made picture, which a photo does not tell.

    Source: paper A.2.2 (L_raw, L_tri); TRAINING B, C.
    """
    return {
        "raw_l1": lambda: l1(got.features, wanted.features),
        "tri": lambda: l1(got.planes, wanted.planes),
        "lr_lpips": _judged(critics.perceptual, weights, got.raw, wanted.raw),
    }


def nearness(
    got: Float[Array, "b h w 3"], wanted: Float[Array, "b h w 3"], matte: Float[Array, "b h w 1"]
) -> dict[str, Float[Array, ""]]:
    """psnr of whole pictures, psnr_head where the matte is; dB, means over pictures."""
    squared = jnp.square(jnp.clip(got, -1, 1) - wanted)
    decibel = lambda error: (10 * jnp.log10(4 / jnp.maximum(error, 1e-10))).mean()
    inside = (squared * matte).sum((1, 2, 3)) / jnp.maximum(3 * matte.sum((1, 2, 3)), 1)
    return {"psnr": decibel(squared.mean((1, 2, 3))), "psnr_head": decibel(inside)}
