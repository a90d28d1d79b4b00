"""Tri-planes and a camera -> a feature image, by volume rendering."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from invertavatar_jax.render import composite, samples, triplane
from invertavatar_jax.render.rays import Rays, cast_rays, ray_limits
from invertavatar_jax.settings import Renderer
from invertavatar_jax.types import Camera

# Points [b, n, 3] in world units -> colour [b, n, c] in about [0, 1] and density [b, n, 1].
Field = Callable[[Array], tuple[Array, Array]]
# Mean plane features [b, n, f] and their points -> the same.
Decode = Callable[[Array, Array], tuple[Array, Array]]


class Rendering(NamedTuple):
    """What rays collect; `*n` is one axis of rays, or the two of a square image."""

    features: Float[Array, "b *n c"]  # in about [-1, 1]; -1 where a ray hits nothing
    depth: Float[Array, "b *n 1"]  # mean distance from the camera, world units
    weight_sum: Float[Array, "b *n 1"]  # opacity, in [0, 1]


class Draws(NamedTuple):
    """Random numbers in [0, 1) of each ray."""

    jitter: Float[Array, "b n s"]  # moves the coarse samples
    fine: Float[Array, "b n m"]  # ascending; places the fine samples


def render(
    decode: Decode,
    planes: Float[Array, "b p h w f"],
    camera: Camera,
    settings: Renderer,
    *,
    limits: tuple[Float[Array, "..."], Float[Array, "..."]] | None = None,
    key: jax.Array | None = None,
    even_fine: bool = False,
    proposal: bool = False,
) -> Rendering:
    """Renders images of settings.neural_resolution, in bounded memory.

    Args:
        decode: mean plane features and points to colour and density; conditions of the
            caller's own (a density prior, say) are its closure.
        limits: where rays start and end, one number or [b, 1, 1]; None is the released
            rule, about the mean distance of all the cameras.
        key: the released randomness (depth jitter, random importance samples); None renders
            the same image each time.
        even_fine: with a key: only the depths are jittered, as where the released code draws
            its results and not the images of a loss or residual.
        proposal: as in render_rays.

    Source: SPEC section 6.
    """
    field = plane_field(decode, planes, settings.box_warp)
    rays = cast_rays(camera, settings.neural_resolution)
    if limits is None:
        limits = ray_limits(camera, settings.near, settings.far)
    count = rays.origins.shape[:-1]
    draws = None if key is None else draw(key, count, settings, even_fine=even_fine)
    flat = render_rays(field, rays, limits, settings, draws, proposal=proposal)
    side = settings.neural_resolution
    return jax.tree.map(lambda x: x.reshape(x.shape[0], side, side, -1), flat)


def render_pixels(
    decode: Decode,
    planes: Float[Array, "b p h w f"],
    camera: Camera,
    settings: Renderer,
    pixels: Int[Array, "b n"],
    *,
    key: jax.Array | None = None,
    proposal: bool = False,
) -> Rendering:
    """As render, for n pixels of each image, given by row-major index."""
    field = plane_field(decode, planes, settings.box_warp)
    rays = cast_rays(camera, settings.neural_resolution, pixels)
    limits = ray_limits(camera, settings.near, settings.far)
    draws = None if key is None else draw(key, pixels.shape, settings)
    return render_rays(field, rays, limits, settings, draws, proposal=proposal)


def plane_field(
    decode: Decode,
    planes: Float[Array, "b p h w f"],
    box_warp: float,
    axes: triplane.Axes = triplane.PLANE_AXES,
) -> Field:
    """The field that `decode` makes of planes."""
    padded = triplane.pad_planes(planes)
    return lambda points: decode(triplane.sample_padded(padded, points, box_warp, axes), points)


def draw(
    key: jax.Array, rays: tuple[int, int], settings: Renderer, *, even_fine: bool = False
) -> Draws:
    """Random numbers for that many rays; they do not depend on how rays are chunked.

    The fine ones are sorted, which changes nothing: the samples of a ray are a set.

    Args:
        even_fine: the fine ones are evenly spaced, not random.
    """
    key_jitter, key_fine = jax.random.split(key)
    jitter = jax.random.uniform(key_jitter, (*rays, settings.coarse_samples))
    if even_fine:
        return even_draws(*rays, settings, jitter)
    fine = jax.random.uniform(key_fine, (*rays, settings.fine_samples))
    return Draws(jitter, jnp.sort(fine, -1))


def render_rays(
    field: Field,
    rays: Rays,
    limits: tuple[Float[Array, "..."], Float[Array, "..."]],
    settings: Renderer,
    draws: Draws | None = None,
    *,
    proposal: bool = False,
) -> Rendering:
    """Integrates a field along rays, settings.chunk_rays at a time.

    Args:
        limits: where rays start and end, world units; one number or [b, 1, 1].
        draws: None places samples evenly.
        proposal: coarse samples only say where the fine ones go: they are not composited
            and get no gradient. Departs from the released renderer, which composites both.
    """
    batch, count = rays.origins.shape[:2]
    if draws is None:
        draws = even_draws(batch, count, settings)
    coarse = samples.stratified(*limits, settings.coarse_samples, draws.jitter)
    work = (rays, coarse, draws.fine)
    march = functools.partial(_march, field, coarse[..., -1].max(), proposal)
    step = max(1, settings.chunk_rays // batch)
    if count <= step:
        return march(*work)
    chunks = -(-count // step)
    padding = chunks * step - count

    def split(x):
        x = jnp.pad(x, ((0, 0), (0, padding), (0, 0)), mode="edge")
        return x.reshape(batch, chunks, step, -1).swapaxes(0, 1)

    def join(x):
        return x.swapaxes(0, 1).reshape(batch, chunks * step, -1)[:, :count]

    parts = jax.lax.map(lambda part: march(*part), jax.tree.map(split, work))
    return jax.tree.map(join, parts)


def even_draws(
    batch: int,
    count: int,
    settings: Renderer,
    jitter: Float[Array, "b n s"] | None = None,
) -> Draws:
    """Evenly spaced in place of random numbers; `jitter` replaces that of the coarse ones."""
    if jitter is None:
        jitter = jnp.zeros((batch, count, settings.coarse_samples))
    fine = jnp.linspace(0.0, 1.0, settings.fine_samples)
    return Draws(jitter, jnp.broadcast_to(fine, (batch, count, settings.fine_samples)))


def _evaluate(field: Field, rays: Rays, depth):
    """Colour [b, n, s, c] and density [b, n, s] at distances [b, n, s] along rays."""
    points = rays.origins[:, :, None] + depth[..., None] * rays.directions[:, :, None]
    colour, density = field(points.reshape(points.shape[0], -1, 3))
    return colour.reshape(*depth.shape, -1), density.reshape(depth.shape)


def _march(field, empty_depth, proposal, rays, coarse, draws) -> Rendering:
    colour, density = _evaluate(field, rays, coarse)
    if proposal:
        density = jax.lax.stop_gradient(density)
    weights = composite.interval_weights(density, coarse)
    fine = samples.importance(coarse, weights, draws)
    fine_colour, fine_density = _evaluate(field, rays, fine)
    if proposal:
        weights = composite.interval_weights(fine_density, fine)
        features = _sum_colours(composite.sample_weights(weights), fine_colour)
        return _rendering(features, weights, fine, empty_depth)
    order, rank = samples.merge_order(coarse, fine)
    depth = samples.permute(jnp.concatenate([coarse, fine], -1), order, rank)
    densities = jnp.concatenate([density, fine_density], -1)
    weights = composite.interval_weights(samples.permute(densities, order, rank), depth)
    # colours stay where they are: their weights go back into the samples' own order
    own = samples.permute(composite.sample_weights(weights), rank, order)
    split = coarse.shape[-1]
    features = _sum_colours(own[..., :split], colour)
    features = features + _sum_colours(own[..., split:], fine_colour)
    return _rendering(features, weights, depth, empty_depth)


def _sum_colours(weights, colour):
    return (weights[..., None] * colour).sum(-2)


def _rendering(features, weights, depth, empty_depth) -> Rendering:
    mean = composite.mean_depth(weights, depth, empty_depth)
    return Rendering(2.0 * features - 1.0, mean[..., None], weights.sum(-1)[..., None])
