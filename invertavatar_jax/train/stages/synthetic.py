"""People that the generator makes up: training samples whose every feature is known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax import generator
from invertavatar_jax.generator import Features
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Frame

# where a made frame's UV colours come from; the released code reads those of the photo that
# lent its pose from the disk
TEXTURES = ("projected", "dataset")


class People(NamedTuple):
    """Canonical features of made people."""

    w_plus: Float[Array, "b l d"]
    maps: Features


def draw_codes(
    nets: Networks, weights: Weights, model: Model, label: Float[Array, "b 25"], truncation, key
) -> Float[Array, "b l d"]:
    """Random codes w_plus of the mapping network, one a label."""
    mapping = part(part(part(weights, "generator"), "backbone"), "mapping")
    z = jax.random.normal(key, (len(label), model.z_dim))
    return nets.mapping.apply(mapping, z, label, truncation=truncation)


def draw_people(
    nets: Networks, weights: Weights, model: Model, label: Float[Array, "b 25"], truncation, key
) -> People:
    """Random people; see draw_codes."""
    w_plus = draw_codes(nets, weights, model, label, truncation, key)
    return People(w_plus, generator.features(nets, part(weights, "generator"), w_plus))


def photograph(frame: Frame, image: Float[Array, "b h w 3"], texture: str) -> Frame:
    """The frame with a made picture in place of its own.

    Args:
        texture: one of TEXTURES.

    Raises:
        ValueError: it is none of them.

    Source: TRAINING C ("caveat"), E (white where nothing is seen).
    """
    if texture not in TEXTURES:
        known = ", ".join(TEXTURES)
        raise ValueError(f"synthetic_texture: got {texture!r}, expected one of {known}")
    if texture == "dataset":
        return frame._replace(image=image)
    colours = jnp.where(frame.uv_visible > 0, grid_sample(image, frame.uv_xy), 1.0)
    return frame._replace(image=image, uv_rgb=colours)
