"""Next3D, the baseline prior: w_plus, a driven FLAME mesh and a camera -> an image.

It has the functions of generator.py and networks.py (`build`, `init`, `shapes`, `features`,
`compose`, `render`) for settings.Next3D; prior.py chooses between the two. Different here:
textures are drawn in four orthographic views and laid on all three planes, the mouth is
redrawn and the front blended by StyleUNets in place of G_face, and w_plus has two halves.

The tree of weights is named as the released checkpoint: {texture_backbone, mouth_backbone,
backbone, neural_blending}/{mapping, synthesis}, superresolution, decoder. Only `backbone`'s
mapping is used, with truncation's cutoff at half of w_plus in the released scripts.

Source: NEXT3D sections 0 to 8.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from invertavatar_jax.generate.mapping import Mapping
from invertavatar_jax.generate.style_unet import StyleUNet
from invertavatar_jax.generate.synthesis import Synthesis
from invertavatar_jax.generator import Rendered
from invertavatar_jax.layers import NOISE, Noise
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.pure import Pure, Weights, part, pure
from invertavatar_jax.rasterize import mouth, orthographic
from invertavatar_jax.render import rays, triplane, volume
from invertavatar_jax.render.decoder import OSGDecoder
from invertavatar_jax.render.upsample import SuperResolution
from invertavatar_jax.settings import Next3D
from invertavatar_jax.types import Camera

FLAME_VERTICES = 5023  # of the released mesh input; its 68 landmarks follow them


class Networks(NamedTuple):
    """One entry per network; see the module's docstring for where its weights are."""

    mapping: Pure
    texture: Pure
    static: Pure
    mouth: Pure
    blending: Pure
    decoder: Pure
    superresolution: Pure


class Features(NamedTuple):
    """What does not depend on the mesh."""

    texture: Float[Array, "b u u c"]
    static: Float[Array, "b p p 3*c"]  # plane by plane


class Drive(NamedTuple):
    """What moves the head: a camera and the mesh as `drive` draws it."""

    camera: Camera
    raster: Float[Array, "b 4 r r 3"]  # u, v in [-1, 1], alpha in [0, 1]; views of orthographic
    mouth_box: Int[Array, "b 4"]  # first and last rows and columns of the front view


class Composed(NamedTuple):
    """Planes, and what they were made of."""

    mouth_input: Float[Array, "b m m c"]
    mouth: Float[Array, "b r r c"]
    stitched: Float[Array, "b r r c"]  # the front view with the mouth in it
    front: Float[Array, "b r r c"]
    planes: Float[Array, "b 3 r r c"]


def build(model: Next3D) -> Networks:
    """The networks of a model."""
    channels, backbone = model.plane_channels, model.backbone
    return Networks(
        mapping=pure(Mapping(model.w_dim, model.w_count, model.mapping_layers)),
        texture=pure(Synthesis(backbone, channels)),
        static=pure(Synthesis(backbone, 3 * channels)),
        mouth=pure(StyleUNet(backbone, model.mouth, channels)),
        blending=pure(StyleUNet(backbone, model.blending, channels)),
        decoder=pure(OSGDecoder(model.renderer.decoder_hidden, channels)),
        superresolution=pure(SuperResolution(model.renderer)),
    )


def init(model: Next3D, key: jax.Array) -> Weights:
    """Fresh weights of all networks, dead ones of the released model included."""
    nets = build(model)
    keys = iter(jax.random.split(key, 10))
    channels, sides = model.plane_channels, (model.mouth.input, model.blending.input)
    image = lambda side, depth: jnp.zeros((1, side, side, depth))
    w_plus = jnp.zeros((1, model.backbone.w_count, model.w_dim))
    label = jnp.zeros((1, model.z_dim)), jnp.zeros((1, model.c_dim))
    synthesis = {
        "texture_backbone": nets.texture.init(next(keys), w_plus),
        "mouth_backbone": nets.mouth.init(next(keys), image(sides[0], channels), w_plus),
        "backbone": nets.static.init(next(keys), w_plus),
        "neural_blending": nets.blending.init(next(keys), image(sides[1], channels), w_plus),
    }
    fine = image(model.renderer.neural_resolution, channels)
    single = {
        "superresolution": nets.superresolution.init(next(keys), fine[..., :3], fine, w_plus),
        "decoder": nets.decoder.init(next(keys), jnp.zeros((1, channels))),
    }
    mapping = {name: nets.mapping.init(next(keys), *label) for name in synthesis}
    return {
        kind: {name: weights[kind] for name, weights in single.items()}
        | {
            name: {"mapping": mapping[name][kind], "synthesis": synthesis[name][kind]}
            for name in synthesis
        }
        for kind in ("params", "buffers")
    }


def shapes(model: Next3D) -> Weights:
    """The tree of `init` with shapes in place of arrays; takes no memory."""
    return jax.eval_shape(lambda key: init(model, key), jax.random.key(0))


def drive(
    model: Next3D,
    mesh: orthographic.Topology,
    camera: Camera,
    vertices: Float[Array, "b v 3"],
    landmarks: Float[Array, "b 68 3"] | None = None,
) -> Drive:
    """Draws a posed mesh for `render`. Not for use inside jit: see orthographic.draw_views.

    Args:
        vertices: of the mesh, head upright: expression and gaze move them, the head's pose
            does not. Metres; in the model space of FLAME.
        landmarks: in the same space; None takes them from behind the vertices, as the
            released input has them.

    Raises:
        ValueError: there are no landmarks.
    """
    if landmarks is None:
        if vertices.shape[1] != FLAME_VERTICES + 68:
            raise ValueError(
                f"got {vertices.shape[1]} vertices and no landmarks, expected landmarks, or "
                f"{FLAME_VERTICES} vertices with 68 landmarks behind them"
            )
        vertices, landmarks = vertices[:, :FLAME_VERTICES], vertices[:, FLAME_VERTICES:]
    side = model.backbone.resolution
    raster = orthographic.view_raster(mesh, vertices, side, model.view_planes)
    return Drive(camera, raster, mouth.mouth_box(landmarks, side))


def halves(model: Next3D, w_plus: Float[Array, "b l d"]) -> list[Float[Array, "b l d"]]:
    """w_plus of everything but the texture, and that of the texture.

    Raises:
        ValueError: w_plus has the wrong number of layers.
    """
    if w_plus.shape[1] != model.w_count:
        raise ValueError(f"w_plus: got {w_plus.shape[1]} layers, expected {model.w_count}")
    return jnp.split(w_plus, 2, axis=1)


def features(
    nets: Networks, weights: Weights, w_plus: Float[Array, "b l d"], noise: Noise = NOISE
) -> Features:
    """The neural texture and the static planes of w_plus."""
    shape, look = jnp.split(w_plus, 2, axis=1)
    draw = lambda network, name, w: network.apply(
        _synthesis(weights, name), w, noise=noise.of(name)
    )
    texture = draw(nets.texture, "texture_backbone", look)[-1]
    return Features(texture, draw(nets.static, "backbone", shape)[-1])


def _synthesis(weights: Weights, name: str) -> Weights:
    return part(part(weights, name), "synthesis")


def compose(
    nets: Networks,
    weights: Weights,
    model: Next3D,
    w_plus: Float[Array, "b l d"],
    maps: Features,
    drive: Drive,
    noise: Noise = NOISE,
) -> Composed:
    """Draws the texture on the mesh in each view, and lays the views over the static planes.

    Source: NEXT3D sections 4 to 7.
    """
    w, _ = halves(model, w_plus)
    raster = jax.lax.stop_gradient(drive.raster)
    drawn = grid_sample(maps.texture, raster[..., :2])
    mouth_input = mouth.crop_box(drawn[:, 0], drive.mouth_box, model.mouth.input)
    run = lambda network, name, image: network.apply(
        _synthesis(weights, name), image, w, noise.of(name)
    )
    redrawn = run(nets.mouth, "mouth_backbone", mouth_input)
    stitched = mouth.paste_box(drawn[:, 0], redrawn, drive.mouth_box)
    front = run(nets.blending, "neural_blending", stitched)
    drawn = drawn.at[:, 0].set(front)
    layers = orthographic.merge_views(drawn, raster[..., 2:], model.view_planes)
    b, side, _, _ = maps.static.shape
    static = maps.static.reshape(b, side, side, 3, -1).transpose(0, 3, 1, 2, 4)
    planes = layers.features * layers.alpha + static * (1 - layers.alpha)
    return Composed(mouth_input, redrawn, stitched, front, planes)


def plane_axes(model: Next3D) -> triplane.Axes:
    """settings.Next3D.planes as numbers of axes."""
    return tuple(("xyz".index(column), "xyz".index(row)) for column, row in model.planes)


def field(
    nets: Networks, weights: Weights, model: Next3D, planes: Float[Array, "b 3 r r c"]
) -> volume.Field:
    """Points [b, n, 3] in world units -> colour in about [0, 1] and density."""
    decode = lambda sampled, points: nets.decoder.apply(part(weights, "decoder"), sampled)
    return volume.plane_field(decode, planes, model.renderer.box_warp, plane_axes(model))


def render(
    nets: Networks,
    weights: Weights,
    model: Next3D,
    w_plus: Float[Array, "b l d"],
    maps: Features,
    drive: Drive,
    *,
    key: jax.Array | None = None,
    noise: Noise = NOISE,
) -> Rendered:
    """Renders the head as `drive` says.

    Args:
        key: depth jitter and random importance samples, which the released code always has;
            None renders the same image each time.
    """
    planes = compose(nets, weights, model, w_plus, maps, drive, noise).planes
    return render_planes(nets, weights, model, w_plus, planes, drive.camera, key)


def render_planes(
    nets: Networks,
    weights: Weights,
    model: Next3D,
    w_plus: Float[Array, "b l d"],
    planes: Float[Array, "b 3 r r c"],
    camera: Camera,
    key: jax.Array | None = None,
) -> Rendered:
    """Renders composed planes: a head at rest seen from anywhere needs composing only once.

    Source: NEXT3D section 8.
    """
    settings, side = model.renderer, model.neural_resolution
    cast = rays.cast_rays(camera, side, half_pixel=True)
    draws = None if key is None else volume.draw(key, cast.origins.shape[:-1], settings)
    limits = jnp.float32(settings.near), jnp.float32(settings.far)
    at_points = field(nets, weights, model, planes)
    out = volume.render_rays(at_points, cast, limits, settings, draws)
    out = jax.tree.map(lambda x: x.reshape(x.shape[0], side, side, -1), out)
    raw, (w, _) = out.features[..., :3], halves(model, w_plus)
    upsampler = part(weights, "superresolution")
    image = nets.superresolution.apply(upsampler, raw, out.features, w)
    return Rendered(image, raw, out.features, out.weight_sum, out.depth, None, planes)
