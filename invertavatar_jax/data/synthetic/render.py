"""Draws one frame of a synthetic person: moves, lights and rasterizes one joint mesh.

Light is worked out at the vertices, with the softness of the sky's shadows on the template
(anatomy.transfer); colour comes from the texture, per sample. Samples are 2 x 2 per pixel.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from invertavatar_jax.data.synthetic.anatomy import TEXTURE, Anatomy, harmonic_bands
from invertavatar_jax.data.synthetic.hair import Strands
from invertavatar_jax.data.synthetic.light import COSINE
from invertavatar_jax.data.synthetic.wear import PIVOT, Solid
from invertavatar_jax.fit.morphable import HeadModel, normals, vertices
from invertavatar_jax.rasterize.api import draw, grow_capacity, interpolate

SAMPLES = 2  # per pixel and axis
LEAST_BLOCKS = 8  # of the rasterizer's list, per pixel: most scenes need less
LEAST_LIST = 1 << 16  # in small pictures hairs are many for their pixels; longer lists compile anew
SHADOW_TINT = np.array([0.72, 0.96, 1.0], "f4")  # light scatters in skin, red the farthest
EYE_RADIUS = 0.0374
SKULL = np.array([0.0, 0.10, -0.02], "f4")  # its centre
GLINT = 0.0048  # half the side of a window's reflection in an eye


class Mesh(NamedTuple):
    """Everything of a scene that does not change between frames."""

    texture: Float[Array, "n 3"]  # texels in a row, then one white
    identity: Float[Array, " k"]
    solid: Float[Array, "s 3"]  # garment and glasses
    solid_normal: Float[Array, "s 3"]
    solid_colour: Float[Array, "s 3"]
    solid_gloss: Float[Array, " s"]
    worn: Float[Array, " s"]  # 1 moves with the body, 0 with the head
    strands: Strands
    under_hair: Float[Array, " v"]  # share of the light that hair lets through
    oiliness: Float[Array, " v"]
    shine: Float[Array, ""]
    triangles: Int[Array, "f 3"]
    of_head: Float[Array, " f"]  # 1 for skin and hair


class View(NamedTuple):
    """What changes from frame to frame."""

    expression: Float[Array, " e"]
    gaze_rad: Float[Array, "4"]
    camera: Float[Array, "25"]
    body: Float[Array, "3 3"]  # turn of the body against the head
    radiance: Float[Array, "9 3"]
    key: Float[Array, "3"]  # direction to the main light
    key_colour: Float[Array, "3"]


class Drawn(NamedTuple):
    """A frame before it is put on a background."""

    colour: Float[Array, "h w 3"]  # linear light times coverage
    cover: Float[Array, "h w"]
    head: Float[Array, "h w"]  # share of the pixel that is skin or hair


def joint_triangles(
    head_triangles: np.ndarray, skin: int, solid: Solid, strands: tuple[int, int]
) -> np.ndarray:
    """Indexes skin, solid, strands and the two glints behind each other.

    Args:
        skin: vertices of the head.
        strands: how many, and points of each.
    """
    count, points = strands
    step = np.arange(points - 1) * 2
    ribbon = np.stack([step, step + 1, step + 2, step + 1, step + 3, step + 2], -1).reshape(-1, 3)
    first = np.arange(count)[:, None, None] * (2 * points) + skin + len(solid.vertices)
    glint = skin + len(solid.vertices) + count * 2 * points
    square = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]) + glint
    ribbons = (ribbon[None] + first).reshape(-1, 3)
    return np.concatenate([head_triangles, solid.triangles + skin, ribbons, square]).astype("i4")


def make_renderer(anatomy: Anatomy, size: int) -> Callable[[Mesh, View], Drawn]:
    """Compiles the drawing of frames of `size` pixels; compiles anew per number of strands."""
    draw_jit = jax.jit(
        functools.partial(_draw_frame, anatomy=anatomy, size=size), static_argnames="capacity"
    )

    def render(mesh: Mesh, view: View) -> Drawn:
        run = lambda capacity: draw_jit(mesh, view, capacity=capacity)
        return grow_capacity(run, max(LEAST_BLOCKS * size * size, LEAST_LIST))

    return render


def _draw_frame(mesh: Mesh, view: View, *, anatomy: Anatomy, size: int, capacity: int):
    head, side = anatomy.head, size * SAMPLES
    points, normal, neutral, rest_normal = _move(mesh, view, head)
    eye_at = view.camera[:16].reshape(4, 4)[:3, 3]
    groups = (
        (points, _light_skin(mesh, view, points, normal, anatomy, eye_at)),
        _light_solid(mesh, view, eye_at),
        _light_strands(mesh, view, points, normal, neutral, rest_normal, eye_at),
        _glints(view, points, head, eye_at),
    )
    place, colour = (jnp.concatenate(parts) for parts in zip(*groups, strict=True))
    white = jnp.full((len(place) - len(points), 2), -1.0)
    values = jnp.concatenate([colour, jnp.concatenate([head.uv, white])], -1)
    pixels = _project(place, view.camera, side)
    raster, needed = draw(pixels, mesh.triangles, side, side, capacity=capacity, cull="clockwise")
    values = interpolate(values, mesh.triangles, raster)
    texel = jnp.clip((values[..., 6:] * TEXTURE).astype(jnp.int32), 0, TEXTURE - 1)
    plain = values[..., 6] < 0
    index = jnp.where(plain, TEXTURE**2, texel[..., 1] * TEXTURE + texel[..., 0])
    lit = values[..., :3] * mesh.texture[index] + values[..., 3:6]
    hit = (raster.triangle >= 0).astype(jnp.float32)
    of_head = hit * mesh.of_head[jnp.maximum(raster.triangle, 0)]
    picture = jnp.concatenate([lit * hit[..., None], hit[..., None], of_head[..., None]], -1)
    small = picture.reshape(size, SAMPLES, size, SAMPLES, 5).mean((1, 3))
    return Drawn(small[..., :3], small[..., 3], small[..., 4]), needed


def _move(mesh: Mesh, view: View, head: HeadModel):
    still = jnp.zeros_like(view.expression)
    neutral = vertices(head, mesh.identity, still, jnp.zeros(4))
    points = vertices(head, mesh.identity, view.expression, view.gaze_rad)
    height = jnp.clip((-0.235 - points[:, 1:2]) / 0.12, 0, 1)
    weight = height * height * (3 - 2 * height)  # the neck bends between head and body
    turned = (points - PIVOT) @ view.body.T + PIVOT
    points = points + weight * (turned - points)
    return points, normals(head, points), neutral, normals(head, neutral)


def _dot(a, b):
    return (a * b).sum(-1, keepdims=True)


def _unit(a):
    return a * jax.lax.rsqrt(jnp.maximum(_dot(a, a), 1e-12))


def _irradiance(normal, radiance):
    bands = jnp.stack(harmonic_bands(normal[..., 0], normal[..., 1], normal[..., 2]), -1)
    return jnp.maximum((bands * COSINE) @ radiance, 0.02)


def _highlight(points, normal, view: View, eye_at, power: float):
    toward = _unit(eye_at - points)
    half = _unit(view.key + toward)
    facing = jnp.maximum(_dot(normal, view.key), 0) > 0
    return facing * jnp.maximum(_dot(normal, half), 0) ** power


def _light_skin(mesh, view, points, normal, anatomy, eye_at):
    grey = view.radiance.mean(-1)
    bands = np.stack(harmonic_bands(*anatomy.normal.T), -1)
    open_sky = jnp.maximum((bands * COSINE) @ grey, 0.12 * 0.28 * grey[0])
    shadow = jnp.clip((anatomy.transfer @ grey) / open_sky, anatomy.least_light, 1.1)
    shadow = (shadow * mesh.under_hair)[:, None]
    light = _irradiance(normal, view.radiance) * shadow**SHADOW_TINT
    toward = _unit(eye_at - points)
    rim = (1 - jnp.maximum(_dot(normal, toward), 0)) ** 4
    shine = mesh.oiliness[:, None] * (
        0.8 * _highlight(points, normal, view, eye_at, 22.0)
        + 0.5 * _highlight(points, normal, view, eye_at, 70.0)
    )
    sheen = mesh.shine * shadow * (shine * view.key_colour + 0.10 * rim * light)
    return jnp.concatenate([light, sheen], -1)


def _light_solid(mesh, view, eye_at):
    turned = (mesh.solid - PIVOT) @ view.body.T + PIVOT
    worn = mesh.worn[:, None]
    points = worn * turned + (1 - worn) * mesh.solid
    normal = worn * (mesh.solid_normal @ view.body.T) + (1 - worn) * mesh.solid_normal
    under = jnp.exp(-jnp.square((points[:, 1:2] + 0.27) / 0.05) * worn) * worn
    near = jnp.exp(-jnp.square(points[:, :1] / 0.16) - jnp.square((points[:, 2:] - 0.05) / 0.2))
    light = _irradiance(normal, view.radiance) * (1 - 0.45 * under * near)
    shine = mesh.solid_gloss[:, None] * _highlight(points, normal, view, eye_at, 30.0)
    return points, jnp.concatenate([mesh.solid_colour * light, shine * view.key_colour], -1)


def _light_strands(mesh, view, points, normal, neutral, rest_normal, eye_at):
    strands = mesh.strands
    root0, root1 = neutral[strands.root], points[strands.root]
    axis = jnp.cross(rest_normal[strands.root], normal[strands.root])[:, None]
    cosine = _dot(rest_normal[strands.root], normal[strands.root])[:, None]
    offset = strands.points - root0[:, None]
    once = jnp.cross(jnp.broadcast_to(axis, offset.shape), offset)
    twice = jnp.cross(jnp.broadcast_to(axis, offset.shape), once)
    path = root1[:, None] + offset + once + twice / (1 + jnp.maximum(cosine, -0.9))
    along = jnp.concatenate([path[:, 1:2] - path[:, :1], path[:, 2:] - path[:, :-2],
                             path[:, -1:] - path[:, -2:-1]], 1)  # fmt: skip
    tangent, toward = _unit(along), _unit(eye_at - path)
    side = 0.5 * strands.width[..., None] * _unit(jnp.cross(tangent, toward))
    outward = _unit(path - jnp.array([0.0, 0.08, -0.02]))
    outward = _unit(outward - 0.6 * tangent * _dot(outward, tangent) + 0.25 * toward)
    light = _irradiance(outward, view.radiance) * strands.shade[..., None]
    half = _unit(view.key + toward)
    across = jnp.sqrt(jnp.maximum(1 - _dot(tangent, half) ** 2, 0))
    lit = jnp.clip(_dot(outward, view.key) + 0.2, 0, 1) * strands.shade[..., None]
    tint = 0.02 + strands.colour[:, None]
    gleam = lit * (0.035 * across**70 + 0.5 * tint * across**20) * view.key_colour
    colour = jnp.concatenate([strands.colour[:, None] * light, gleam], -1)
    # hair on the far side of the skull is hidden: what is not a number is not drawn
    facing = _dot(_unit(path - SKULL), toward)
    path = jnp.where((facing < -0.3) & (path[..., 1:2] > 0.0), jnp.nan, path)
    both = jnp.stack([path - side, path + side], 2)
    colours = colour[:, :, None] * jnp.array([0.8, 1.15])[:, None]  # streaks within a ribbon
    return both.reshape(-1, 3), colours.reshape(-1, 6)


def _glints(view: View, points, head, eye_at):
    """The main light's reflection, a small square in front of each eye."""
    squares = []
    for eye in (head.eye_left, head.eye_right):
        centre = points[eye].mean(0)
        half = _unit(_unit(view.key + jnp.array([0.0, 0.1, 0.0])) + 1.2 * _unit(eye_at - centre))
        across = _unit(jnp.cross(jnp.array([0.0, 1.0, 0.0]), half))
        up = jnp.cross(half, across)
        middle = centre + 1.012 * EYE_RADIUS * half
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        squares += [middle + GLINT * (0.8 * a * across + b * up) for a, b in corners]
    colour = jnp.concatenate([jnp.zeros(3), jnp.minimum(1.1 * view.key_colour + 0.15, 1.2)])
    return jnp.stack(squares), jnp.broadcast_to(colour, (8, 6))


def _project(points, camera, side: int):
    pose, focal = camera[:16].reshape(4, 4), camera[16:].reshape(3, 3)
    seen = (points - pose[:3, 3]) @ pose[:3, :3]
    depth = seen[:, 2:]
    plane = seen[:, :2] / depth * jnp.diag(focal)[:2] + focal[:2, 2]
    return jnp.concatenate([plane * side, depth], -1)
