"""The animatable 3D generator: w_plus, a driven mesh and a camera -> an image. Paper 3.1, 3.2."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.rasterize import blend
from invertavatar_jax.render import colours as guides
from invertavatar_jax.render import rays, volume
from invertavatar_jax.render.blocks import map_points
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Drive, Frame


class Features(NamedTuple):
    """Feature lists of G_tex and G_static: [img R/8, x R/8, x R/4, x R/2, x R, img R]."""

    textures: list[Float[Array, "b h w c"]]
    static: list[Float[Array, "b h w c"]]


class Colours(NamedTuple):
    """Observed colours, RGB in [0, 1] times weight, and weight; sums over frames."""

    texture: Float[Array, "b u u 4"]
    frontal: Float[Array, "b p p 4"]


Limits = tuple[Float[Array, "..."], Float[Array, "..."]]  # of rays, world units


class Rendered(NamedTuple):
    """What the renderer returns; alpha and depth are at the neural resolution."""

    image: Float[Array, "b h w 3"]  # in about [-1, 1]
    raw: Float[Array, "b n n 3"]  # the volume's own colours, in about [-1, 1]
    features: Float[Array, "b n n c"]
    alpha: Float[Array, "b n n 1"]
    depth: Float[Array, "b n n 1"]
    image_alpha: Float[Array, "b h w 1"] | None  # with departures.colours only
    planes: Float[Array, "b 3 r r c"]


def features(nets: Networks, weights: Weights, w_plus: Float[Array, "b l d"]) -> Features:
    """G_tex and G_static of w_plus."""
    textures = nets.texture.apply(part(part(weights, "texture_backbone"), "synthesis"), w_plus)
    static = nets.static.apply(part(part(weights, "backbone"), "synthesis"), w_plus)
    return Features(textures, static)


def no_colours(model: Model, batch: int) -> Colours:
    """Nothing seen yet."""
    empty = lambda side: jnp.zeros((batch, side, side, 4))
    return Colours(empty(model.uv_resolution), empty(model.renderer.image_resolution))


def add_colours(colours: Colours, frame: Frame) -> Colours:
    """Adds what one frame shows (leading axis b)."""
    weighted = lambda rgb, weight: jnp.concatenate([0.5 * (rgb + 1) * weight, weight], -1)
    texture = weighted(frame.uv_rgb, frame.uv_visible)
    packed = jnp.concatenate([frame.image, jnp.ones_like(frame.matte)], -1)
    front = grid_sample(
        jnp.concatenate([0.5 * (packed[..., :3] + 1) * frame.matte, frame.matte], -1),
        frame.frontal_xy,
    )
    return Colours(colours.texture + texture, colours.frontal + front)


def _mean(total: Float[Array, "b h w 4"]) -> Float[Array, "b h w 4"]:
    """Sums over frames -> premultiplied means with weights in [0, 1]."""
    return total / jnp.maximum(total[..., 3:], 1.0)


def compose(
    nets: Networks,
    weights: Weights,
    model: Model,
    w_plus: Float[Array, "b l d"],
    maps: Features,
    raster: Float[Array, "b r r 3"],
) -> Float[Array, "b 3 h w c"]:
    """Draws the neural texture on the driven mesh into the frontal plane. SPEC section 5."""
    composed = blend.compose(
        maps.textures, maps.static, raster, model.raster_window, model.mouth_row
    )
    face = nets.face.apply(
        part(part(weights, "face_backbone"), "synthesis"), w_plus, composed.conditions
    )[-1]
    return blend.paste_face(face, composed.full_alpha, maps.static[-1], model.raster_window)


def render(
    nets: Networks,
    weights: Weights,
    model: Model,
    w_plus: Float[Array, "b l d"],
    maps: Features,
    drive: Drive,
    *,
    colours: Colours | None = None,
    background: Float[Array, "b h w 3"] | None = None,
    keep: Float[Array, " b"] | None = None,
    limits: Limits | None = None,
    key: jax.Array | None = None,
    even_fine: bool = False,
) -> Rendered:
    """Renders the avatar as `drive` says.

    Args:
        colours: observed colours (departures.colours); None renders without them.
        background: in [-1, 1] (departures.background); None is black.
        keep: weight in {0, 1} of the colours that super-resolution reads, per image.
        limits: where rays start and end; None is about each camera's own distance, where
            the released code takes the mean over the cameras of a batch (SPEC section 6).
        key: released randomness (depth jitter, random importance samples); None has none.
        even_fine: as of volume.render.
    """
    planes = compose(nets, weights, model, w_plus, maps, drive.raster)
    guide = None
    if model.departures.colours:
        seen = no_colours(model, w_plus.shape[0]) if colours is None else colours
        guide = guides.make_guide(_mean(seen.texture), _mean(seen.frontal), drive.box_raster)
    decode = _decoder(nets, part(weights, "decoder"), model, guide)
    settings = model.renderer
    if limits is None:
        own = jax.vmap(lambda camera: rays.ray_limits(camera, settings.near, settings.far))
        limits = tuple(end[:, None, None] for end in own(drive.camera))
    out = volume.render(
        decode,
        planes,
        drive.camera,
        settings,
        limits=limits,
        key=key,
        even_fine=even_fine,
        proposal=settings.proposal,
    )
    if settings.preview_resolution:
        neural = (settings.neural_resolution,) * 2
        out = jax.tree.map(lambda x: resize_antialias(x, neural), out)
    raw = out.features[..., :3]
    upsampler = part(weights, "superresolution")
    if guide is None:
        image = nets.superresolution.apply(upsampler, raw, out.features, w_plus)
        return Rendered(image, raw, out.features, out.weight_sum, out.depth, None, planes)
    skip = _skip(model, guide, _mean(seen.texture), drive, out.depth, keep)  # pyright: ignore
    rgb, alpha = nets.superresolution.apply(upsampler, out.features, out.weight_sum, skip)
    if background is not None:
        rgb = rgb + (1 - alpha) * 0.5 * (background + 1)
    return Rendered(2 * rgb - 1, raw, out.features, out.weight_sum, out.depth, alpha, planes)


def _decoder(nets: Networks, weights: Weights, model: Model, guide: guides.Guide | None):
    """The function of plane features and points that volume rendering integrates."""
    if guide is None:
        return lambda sampled, points: nets.decoder.apply(weights, sampled)

    box_warp, depth_prior = model.renderer.box_warp, model.departures.depth_prior

    def at_points(sampled, guided, points):
        extra = guides.point_features(guided, points, box_warp)
        colour, density = nets.decoder.apply(weights, jnp.concatenate([sampled, extra], -1))
        density = guides.apply_prior(extra, density, depth_prior=depth_prior)
        return guides.pass_colour(extra, colour), density

    def decode(sampled, points):
        guided = guides.sample_guide(guide, points, box_warp)
        flat = [x.reshape(-1, x.shape[-1]) for x in (sampled, guided, points)]
        results = map_points(at_points, *flat)
        return jax.tree.map(lambda x: x.reshape(*points.shape[:-1], -1), results)

    return decode


def _skip(model, guide, texture, drive, depth, keep) -> guides.Skip:
    """Colours at the output's pixels: through the mesh, and through the rendered depth."""
    side = model.renderer.image_resolution
    view = guides.unmultiply(grid_sample(texture, drive.view[..., :2]) * drive.view[..., 2:])
    origins, directions = rays.cast_rays(drive.camera, side)  # [b, side * side, 3]
    far = resize_antialias(jax.lax.stop_gradient(depth), (side, side))
    points = origins + far.reshape(*origins.shape[:-1], 1) * directions
    through = guides.sample_guide(guide, points, model.renderer.box_warp)[..., :4]
    through = guides.unmultiply(through).reshape(*view.shape)
    if keep is not None:
        keep = keep[:, None, None, None]
        view, through = view * keep, through * keep
    return guides.Skip(view, through)
