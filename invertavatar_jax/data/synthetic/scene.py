"""Synthetic people: pictures whose mesh, camera and expression are known exactly."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from invertavatar_jax.data.synthetic import (
    appearance,
    hair,
    light,
    motion,
    obstacles,
    wear,
    whiskers,
)
from invertavatar_jax.data.synthetic.anatomy import Anatomy, study
from invertavatar_jax.data.synthetic.backdrop import paint_background
from invertavatar_jax.data.synthetic.noise import bump, linear, step
from invertavatar_jax.data.synthetic.person import Person, load_group_means, sample_person
from invertavatar_jax.data.synthetic.render import Drawn, Mesh, View, joint_triangles, make_renderer
from invertavatar_jax.fit.morphable import HeadModel, load_head_model, vertices

STRAND_COUNTS = (1280, 1792, 2816, 4736)  # scenes are filled up to one of these: few compilations
SOLID_VERTICES = 1720  # of the garment and glasses, filled up


class Clip(NamedTuple):
    """t frames of one synthetic person."""

    image: UInt8[np.ndarray, "t h w 3"]
    matte: UInt8[np.ndarray, "t h w"]  # 255 = person, clothes included
    head_matte: UInt8[np.ndarray, "t h w"]  # 255 = skin or hair
    background: UInt8[np.ndarray, "h w 3"]
    identity: Float[np.ndarray, " k"]
    expression: Float[np.ndarray, "t e"]
    gaze_rad: Float[np.ndarray, "t 4"]
    camera: Float[np.ndarray, "t 25"]  # see types.Camera


class Studio(NamedTuple):
    """What all scenes share; made once."""

    anatomy: Anatomy
    groups: dict[str, np.ndarray]  # see person.load_group_means
    size: int
    render: object  # Callable[[Mesh, View], Drawn]
    shape: object  # identity -> neutral vertices


def open_studio(head: HeadModel | None = None, size: int = 256) -> Studio:
    """Prepares drawing at `size` pixels; takes some seconds, then compiles at first use."""
    anatomy = study(head if head is not None else load_head_model())
    still = jnp.zeros(len(anatomy.head.expression_names)), jnp.zeros(4)
    shape = jax.jit(lambda identity: vertices(anatomy.head, identity, *still))
    return Studio(anatomy, load_group_means(), size, make_renderer(anatomy, size), shape)


def sample_scene(
    rng: np.random.Generator, studio: Studio, frames: int = 8, *, every: int = 1
) -> Clip:
    """Draws one new person, before one background and light.

    Args:
        every: frames from one moment to the next, between which the person moves smoothly; 1:
            unrelated moments.
    """
    head = studio.anatomy.head
    person = sample_person(rng, len(head.identity), studio.groups)
    mesh = _dress(rng, studio, person)
    lights = light.exposed(light.sample_lights(rng), float(np.exp(rng.normal(-0.05, 0.22))))
    background = paint_background(rng, studio.size)
    moments = 1 - (1 - frames) // every
    move = functools.partial(motion.glide, frames=frames, every=every)
    gaze = move(motion.sample_gaze(rng, moments))
    expression = move(motion.sample_expressions(rng, head, moments))
    expression = motion.follow_gaze(expression, gaze, head)
    cameras = motion.cameras(move(motion.sample_poses(rng, moments)))
    follow = rng.uniform(0.35, 0.8)
    finish = functools.partial(_finish, rng, background, _sample_grade(rng))
    drawn = [
        studio.render(mesh, _view(lights, follow, *moment))
        for moment in zip(expression, gaze, cameras, strict=True)
    ]
    pictures = [finish(frame) for frame in jax.device_get(drawn)]
    image, matte, head_matte = (np.stack(parts) for parts in zip(*pictures, strict=True))
    return Clip(image, matte, head_matte, background, person.identity, expression, gaze, cameras)


def _view(lights: light.Lights, follow: float, expression, gaze_rad, camera) -> View:
    world_from_scene = camera[:16].reshape(4, 4)[:3, :3] * np.array([1, -1, -1], "f4")
    return View(
        expression=expression,
        gaze_rad=gaze_rad,
        camera=camera,
        body=_partial_turn(world_from_scene, follow),
        radiance=light.radiance(lights, world_from_scene),
        key=world_from_scene @ lights.direction[0],
        key_colour=lights.colour[0],
    )


def _partial_turn(rotation: np.ndarray, share: float) -> np.ndarray:
    """A share of a rotation, about the same axis."""
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    skew = rotation - rotation.T
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    axis = axis / max(np.linalg.norm(axis), 1e-9)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(share * angle) * cross
    return (turn + (1 - np.cos(share * angle)) * cross @ cross).astype("f4")


def _dress(rng: np.random.Generator, studio: Studio, person: Person) -> Mesh:
    """Paints the person, grows hair, puts clothes on and joins all triangles."""
    anatomy, head = studio.anatomy, studio.anatomy.head
    neutral = np.asarray(studio.shape(person.identity))
    line = wear.neckline(rng)
    skin_part = np.unique(head.triangles[head.triangle_part == 0])
    garment = wear.garment(rng, neutral[skin_part], line)
    solids, worn = [garment], [np.ones(len(garment.vertices), "f4")]
    if rng.random() < 0.13:
        eyes = np.stack([neutral[head.eye_left].mean(0), neutral[head.eye_right].mean(0)])
        nose = neutral[np.argmax(head.template[:, 2])]
        solids.append(wear.glasses(rng, eyes, nose))
        worn.append(np.zeros(len(solids[1].vertices), "f4"))
    style = hair.sample_style(rng, person)
    beard, beard_length = _sample_beard(rng, person)
    strands = _grow(rng, anatomy, person, style, beard, beard_length, neutral, garment)
    position = anatomy.position
    scalp = step(hair.hair_depth(position, style) + 0.004 * rng.normal(), 0.009)
    scalp = scalp * (0.35 * rng.random() if style.name == "bald" else 0.95)
    stubble = whiskers.beard_cover(position, beard) * (
        0.75 if beard_length else rng.uniform(0.1, 0.5)
    )
    texture = appearance.paint(rng, anatomy, person, scalp, stubble)
    texture = np.concatenate([texture.reshape(-1, 3), np.ones((1, 3), "f4")])
    solid, worn_all, normal = _join(solids, worn)
    covered = _covered(head, neutral, line)
    kept = np.where(covered[:, None], 0, head.triangles)
    triangles = joint_triangles(kept, len(neutral), solid, strands.width.shape)
    of_head = np.ones(len(triangles), "f4")
    of_head[len(kept) : len(kept) + len(solid.triangles)] = 0
    x, y, z = head.template.T
    oil = 0.35 + 0.5 * bump(x, 0.05) * step(z - 0.17, 0.02) + 0.25 * bump(y - 0.16, 0.05)
    lips = bump(y + 0.128, 0.022) * bump(x, 0.05) * step(z - 0.19, 0.01)
    oil = np.where(np.isin(np.arange(len(x)), skin_part), oil + 0.5 * lips, 0.5)
    shine = np.float32(rng.uniform(0.02, 0.22))
    hairs = strands.points[strands.width[:, 0] > 0].reshape(-1, 3)
    shade = obstacles.shade_under(hairs, neutral)
    return jax.device_put(Mesh(
        texture, person.identity, solid.vertices, normal, solid.colour, solid.gloss,
        worn_all, strands, shade, oil.astype("f4"), shine,
        triangles, of_head,
    ))  # fmt: skip


def _sample_beard(rng: np.random.Generator, person: Person) -> tuple[str, float]:
    """Kind of beard and the length of its hair; 0 is stubble."""
    if not person.male or rng.random() < 0.35:
        return "none", 0.0
    kind = str(rng.choice(["full", "goatee", "moustache"], p=[0.75, 0.15, 0.1]))
    return kind, float(rng.choice([0.0, rng.uniform(0.006, 0.02), rng.uniform(0.02, 0.06)],
                                  p=[0.6, 0.28, 0.12]))  # fmt: skip


def _grow(rng, anatomy, person, style, beard, beard_length, neutral, garment) -> hair.Strands:
    """Hair of head and jaw, filled up with strands of no width."""
    parts = [whiskers.grow_lashes(rng, anatomy, person, neutral)]
    shoulders = obstacles.measure_shoulders(garment.vertices, wear.AROUND)
    if style.strands:
        parts.append(hair.grow(rng, anatomy, person, style, neutral, shoulders))
    if beard_length > 0:
        cover = whiskers.beard_cover(anatomy.head.template, beard).astype("f4")
        parts.append(whiskers.grow_beard(rng, anatomy, person, cover, beard_length, neutral))
    count = sum(len(part.root) for part in parts)
    missing = next(n for n in STRAND_COUNTS if n >= count) - count
    empty = hair.Strands(
        np.tile(np.float32([0, 0, -5]), (missing, hair.POINTS, 1)),
        np.zeros((missing, hair.POINTS), "f4"), np.zeros((missing, 3), "f4"),
        np.zeros((missing, hair.POINTS), "f4"), np.zeros(missing, "i4"),
    )  # fmt: skip
    joined = hair.Strands(*(np.concatenate(leaf) for leaf in zip(*parts, empty, strict=True)))
    return hair.refine(joined, 6 if style.strands == 1600 else 1)


def _covered(head: HeadModel, neutral: np.ndarray, line) -> np.ndarray:
    """Marks skin triangles well inside the garment: they could only poke through."""
    angle = np.arctan2(neutral[:, 0], neutral[:, 2] + 0.05)
    below = neutral[:, 1] < wear.top_edge(angle, line) - 0.03
    below |= np.abs(neutral[:, 0]) > 0.3
    return below[head.triangles].all(-1)


def _join(solids: list[wear.Solid], worn: list[np.ndarray]):
    """Puts meshes behind each other and fills up with points of no use; with normals."""
    start = np.cumsum([0] + [len(solid.vertices) for solid in solids])
    triangles = np.concatenate([s.triangles + at for s, at in zip(solids, start, strict=False)])
    points = np.concatenate([solid.vertices for solid in solids])
    corner = points[triangles]
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = np.zeros_like(points)
    np.add.at(normal, triangles.ravel(), np.repeat(area, 3, 0))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    missing = SOLID_VERTICES - len(points)
    fill = lambda a: np.concatenate([a, np.zeros((missing, *a.shape[1:]), a.dtype)])
    faces = np.zeros((2 * SOLID_VERTICES, 3), "i4")
    faces[: len(triangles)] = triangles
    colour = np.concatenate([solid.colour for solid in solids])
    gloss = np.concatenate([solid.gloss for solid in solids])
    solid = wear.Solid(fill(points), faces, fill(colour), fill(gloss))
    return solid, fill(np.concatenate(worn)), fill(normal)


class Grade(NamedTuple):
    """How a camera renders a scene."""

    gamma: float
    saturation: float
    noise: float
    soft: float  # share of a 3 x 3 blur


def _sample_grade(rng: np.random.Generator) -> Grade:
    return Grade(
        float(np.exp(rng.normal(0, 0.08))), float(np.exp(rng.normal(-0.03, 0.12))),
        0.012 * rng.random() ** 2, rng.random() ** 2 * 0.8,
    )  # fmt: skip


def _finish(rng, background: np.ndarray, grade: Grade, drawn: Drawn):
    """Puts a frame before its background, as a camera would record it; 8 bits."""
    cover = drawn.cover[..., None]
    colour = drawn.colour / np.maximum(cover, 1e-3)
    bright = np.maximum(colour - 0.65, 0)
    colour = np.minimum(colour, 0.65) + 0.35 * (1 - np.exp(-bright / 0.35))
    grey = colour @ np.array([0.3, 0.6, 0.1], "f4")
    colour = np.clip(grey[..., None] + (colour - grey[..., None]) * grade.saturation, 0, 1)
    colour = colour**grade.gamma
    light_there = linear(background / np.float32(255))
    mixed = colour * cover + light_there * (1 - cover)
    shown = np.where(mixed < 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
    padded = np.pad(shown, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    blurred = 0.25 * rows[:, :-2] + 0.5 * rows[:, 1:-1] + 0.25 * rows[:, 2:]
    shown = shown + grade.soft * (blurred - shown)
    shown = shown + rng.normal(0, 1, shown.shape).astype("f4") * grade.noise
    eight = lambda x: np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)
    return eight(shown), eight(drawn.cover), eight(drawn.head)
