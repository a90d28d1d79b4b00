"""Departures of the small preset: the photo's colours and the tracked depth, at the renderer.

A guide plane is what the frontal plane knows without a network: colours seen in the photos,
and where the driven mesh lies. The volume decoder and super-resolution read it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax import layers
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.resize import resize_antialias

EMPTY = 1e-4  # weights below this hold no colour

# Depth differences are read at three scales (world units), coarse to fine.
DEPTH_SCALES = (0.2, 0.07, 0.022)
# Density per world unit of the prior, and its logits: bounded, so that no ray can go dead.
DENSITY_GAIN = 27.0
LOGIT_RANGE, LOGIT_REST, LOGIT_MESH = 5.0, -1.5, 6.0


class Guide(NamedTuple):
    """Frontal plane of colours and geometry; rows grow with +y."""

    colour: Float[Array, "b p p 4"]  # RGB in [0, 1] times weight, weight in [0, 1]
    mesh: Float[Array, "b p p 2"]  # mask, z (world) times mask


def unmultiply(premultiplied: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """(colour * weight, weight) -> (colour, weight); colour 0 where nothing was seen."""
    weight = premultiplied[..., 3:]
    seen = weight > EMPTY
    colour = jnp.where(seen, premultiplied[..., :3] / jnp.where(seen, weight, 1.0), 0.0)
    return jnp.concatenate([colour, jnp.where(seen, weight, 0.0)], -1)


def make_guide(
    texture: Float[Array, "b u u 4"],
    frontal: Float[Array, "b p p 4"],
    box_raster: Float[Array, "b p p 4"],
) -> Guide:
    """Draws the colours onto the driven mesh, and those of the frontal photo around it.

    Args:
        texture: UV map of observed colours, premultiplied.
        frontal: observed colours of the frontal plane, premultiplied.
        box_raster: the driven head: u, v, mask, z.
    """
    mask = box_raster[..., 2:3]
    drawn = grid_sample(texture, box_raster[..., :2]) * mask
    around = frontal * (1 - jnp.clip(drawn[..., 3:], 0.0, 1.0))
    return Guide(drawn + around, jnp.concatenate([mask, box_raster[..., 3:] * mask], -1))


def sample_guide(
    guide: Guide, points: Float[Array, "b n 3"], box_warp: float
) -> Float[Array, "b n 6"]:
    """The guide's channels, colour then mesh, at points in world units."""
    packed = jnp.concatenate([guide.colour, guide.mesh], -1)
    return grid_sample(packed, points[..., :2] * (2 / box_warp))


def point_features(
    sampled: Float[Array, "*n 6"], points: Float[Array, "*n 3"], box_warp: float
) -> Float[Array, "*n 11"]:
    """What the decoder reads of the guide: colour, weight, mask, depths, position.

    Args:
        sampled: of sample_guide.
    """
    mask = sampled[..., 4:5]
    on = mask > EMPTY
    depth = jnp.where(on, sampled[..., 5:] / jnp.where(on, mask, 1.0) - points[..., 2:], 0.0)
    steps = [jnp.tanh(depth / scale) * mask for scale in DEPTH_SCALES]
    position = points * (2 / box_warp)
    return jnp.concatenate([unmultiply(sampled[..., :4]), mask, *steps, position], -1)


POINT_FEATURES = 4 + 1 + len(DEPTH_SCALES) + 3


def apply_prior(
    features: Float[Array, "b n f"], raw: Float[Array, "b n 1"], *, depth_prior: bool
) -> Float[Array, "b n 1"]:
    """Bounded density with a bias towards the mesh, as the raw value `composite` expects.

    Args:
        features: of point_features.
        raw: the decoder's density output.
    """
    logit = LOGIT_RANGE * jnp.tanh(raw) + LOGIT_REST
    if depth_prior:
        logit = logit + LOGIT_MESH * features[..., 4 + len(DEPTH_SCALES) : 5 + len(DEPTH_SCALES)]
    density = DENSITY_GAIN * jax.nn.softplus(logit) + 1e-6
    # the inverse of composite's softplus(x - 1)
    return 1.0 + density + jnp.log(-jnp.expm1(-density))


def pass_colour(
    features: Float[Array, "b n f"], decoded: Float[Array, "b n c"]
) -> Float[Array, "b n c"]:
    """Lets the seen colour through to the first three channels; the fourth is the gate."""
    gate = jnp.clip(features[..., 3:4], 0.0, 1.0) * jax.nn.sigmoid(6 * decoded[..., 3:4] - 1)
    colour = gate * features[..., :3] + (1 - gate) * decoded[..., :3]
    return jnp.concatenate([colour, decoded[..., 3:]], -1)


class Skip(NamedTuple):
    """Colours at the target's own pixels, straight from the photos; RGB in [0, 1], weight."""

    view: Float[Array, "b h w 4"]  # through the driven mesh's UV
    guide: Float[Array, "b h w 4"]  # through the rendered depth


def fold(x: Float[Array, "b h w c"], n: int) -> Float[Array, "b p q k"]:
    """n x n pixels into channels."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // n, n, w // n, n, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // n, w // n, n * n * c)


def unfold(x: Float[Array, "b p q k"], n: int) -> Float[Array, "b h w c"]:
    """The inverse of fold."""
    b, p, q, k = x.shape
    x = x.reshape(b, p, q, n, n, k // (n * n)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, p * n, q * n, k // (n * n))


class FoldedSuperResolution(nn.Module):
    """Super-resolution at the neural resolution, n x n output pixels per position.

    Returns colour premultiplied by alpha (RGB in about [0, 1]) and alpha.
    """

    channels: tuple[int, int]
    factor: int

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "b n n c"],
        alpha: Float[Array, "b n n 1"],
        skip: Skip,
    ) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w 1"]]:
        size = skip.view.shape[1:3]
        width, last = self.channels
        inputs = [features, alpha, fold(skip.view, self.factor), fold(skip.guide, self.factor)]
        act = lambda x: jax.nn.leaky_relu(x, 0.2)
        x = layers.Conv(width, 1, name="conv_in")(jnp.concatenate(inputs, -1))
        for i in range(2):
            y = layers.Conv(width, name=f"res{i}_conv0")(act(x))
            x = x + layers.Conv(width, name=f"res{i}_conv1")(act(y)) * 0.5
        x = layers.Conv(last, name="conv_out")(act(x))
        out = layers.Conv(6 * self.factor**2, 1, name="head")(act(x)) * 0.3
        out = unfold(out, self.factor)
        low = jnp.concatenate([0.5 * (features[..., :3] + 1), alpha], -1)
        low = resize_antialias(low, size)
        alpha = soft_clip(low[..., 3:] + out[..., 3:4])
        through = lambda colour, logit: colour[..., 3:] * jax.nn.sigmoid(3 * logit)
        by_guide = through(skip.guide, out[..., 4:5])
        by_view = through(skip.view, out[..., 5:6] + 0.5)
        rgb = low[..., :3] * (1 - by_guide) + by_guide * skip.guide[..., :3] * alpha
        rgb = rgb * (1 - by_view) + by_view * skip.view[..., :3] * alpha
        return rgb + out[..., :3], alpha


def soft_clip(x: Array) -> Array:
    """Clips to [0, 1] but lets a little through outside, so that gradients never vanish."""
    clipped = jnp.clip(x, 0.0, 1.0)
    return clipped + 0.05 * (x - clipped)
