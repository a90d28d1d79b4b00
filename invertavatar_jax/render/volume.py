"""Tri-planes and a camera -> a feature image, by volume rendering."""

import functools
import math
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

# What a chunk of rays may hold: on a CPU about the caches of two cores, elsewhere so much
# that every core has work.
CPU_CHUNK_BYTES, ACCELERATOR_CHUNK_BYTES = 18 * 2**20, 2**30


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
    """Renders images of settings.ray_resolution, in bounded memory.

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
    rays = cast_rays(camera, settings.ray_resolution)
    if limits is None:
        limits = ray_limits(camera, settings.near, settings.far)
    count = rays.origins.shape[:-1]
    draws = None if key is None else draw(key, count, settings, even_fine=even_fine)
    flat = render_rays(field, rays, limits, settings, draws, proposal=proposal)
    side = settings.ray_resolution
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
    """The field that `decode` makes of planes, which may be of any floating-point type."""
    folded, axes = triplane.fold_planes(planes, axes)
    padded = triplane.pad_planes(folded)
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
    """Integrates a field along rays, some at a time: see _chunk_rays.

    Args:
        limits: where rays start and end, world units; one number or [b, 1, 1].
        draws: None places samples evenly.
        proposal: coarse samples only say where the fine ones go: they are not composited
            and get no gradient. Departs from the released renderer, which composites both.
    """
    batch, count = rays.origins.shape[:2]
    if draws is None:
        draws = even_draws(batch, count, settings)
    place = functools.partial(samples.stratified, *limits, settings.coarse_samples)
    empty_depth = place(draws.jitter)[..., -1].max()

    def integrate(rays, draws):
        return _march(field, empty_depth, proposal, rays, place(draws.jitter), draws.fine)

    on_cpu = min(settings.chunk_rays, _chunk_rays(settings, CPU_CHUNK_BYTES))
    elsewhere = _chunk_rays(settings, ACCELERATOR_CHUNK_BYTES)
    on_cpu, elsewhere = max(1, on_cpu // batch), max(1, elsewhere // batch)
    if count <= min(on_cpu, elsewhere):
        return integrate(rays, draws)
    return jax.lax.platform_dependent(
        cpu=lambda: _in_chunks(integrate, on_cpu, rays, draws),
        default=lambda: _in_chunks(integrate, elsewhere, rays, draws),
    )


def _chunk_rays(settings: Renderer, budget: int) -> int:
    """How many rays to integrate at a time, of all images of a batch together.

    The largest arrays of a pass are the decoder's hidden layer and the features and colours
    around it, together about three numbers a hidden unit for each sample.
    """
    samples_of_pass = max(settings.coarse_samples, settings.fine_samples)
    ray_bytes = 4 * 3 * settings.decoder_hidden * samples_of_pass
    return budget // ray_bytes


def _in_chunks(integrate, step: int, rays: Rays, draws: Draws) -> Rendering:
    """integrate(rays, draws), `step` rays of each image at a time, computed again by gradients."""
    count = rays.origins.shape[1]
    if count <= step:
        return integrate(rays, draws)
    chunks = -(-count // step)
    step = -(-count // chunks)  # of nearly equal sizes
    order = _columns_first(count)
    index = jnp.pad(order, (0, chunks * step - count), mode="edge").reshape(chunks, step)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def some(index):
        pick = lambda x: x.at[:, index].get(mode="promise_in_bounds")
        return integrate(*jax.tree.map(pick, (rays, draws)))

    parts = jax.lax.map(some, index)  # [chunks, b, step, _]
    chunk, place = order // step, order % step  # the order is its own inverse
    return jax.tree.map(lambda x: x[chunk, :, place].swapaxes(0, 1), parts)


def _columns_first(count: int) -> Int[Array, " n"]:
    """Indices of rays in the order in which they are integrated; its own inverse.

    Those of a square image go column by column: they read a narrow strip of every plane that
    runs along x, as the neighbouring columns do, and it stays in a core's cache.
    """
    side = math.isqrt(count)
    order = jnp.arange(count)
    return order.reshape(side, side).T.reshape(-1) if side * side == count else order


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
    rank = samples.merge_ranks(coarse, fine)
    depth = samples.to_order(jnp.concatenate([coarse, fine], -1), rank)
    densities = jnp.concatenate([density, fine_density], -1)
    weights = composite.interval_weights(samples.to_order(densities, rank), depth)
    # colours stay where they are: their weights go back into the samples' own order
    own = samples.from_order(composite.sample_weights(weights), rank)
    split = coarse.shape[-1]
    features = _sum_colours(own[..., :split], colour)
    features = features + _sum_colours(own[..., split:], fine_colour)
    return _rendering(features, weights, depth, empty_depth)


def _sum_colours(weights, colour):
    # a matrix product: XLA:CPU reduces weights * colour fifty times as slowly
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("bns,bnsc->bnc", weights, colour, precision=exact)


def _rendering(features, weights, depth, empty_depth) -> Rendering:
    mean = composite.mean_depth(weights, depth, empty_depth)
    return Rendering(2.0 * features - 1.0, mean[..., None], composite.opacity(weights)[..., None])
