"""Hair as strands: where it grows, how it is combed, how it falls around head and shoulders."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.data.synthetic.anatomy import Anatomy
from invertavatar_jax.data.synthetic.noise import bump, step
from invertavatar_jax.data.synthetic.obstacles import CENTRE, Shoulders, measure_skull
from invertavatar_jax.data.synthetic.person import Person

POINTS = 9  # of a strand


class Strands(NamedTuple):
    """Ribbons in the head's axes, attached to the skin at their roots."""

    points: Float[np.ndarray, "n p 3"]
    width: Float[np.ndarray, "n p"]
    colour: Float[np.ndarray, "n 3"]
    shade: Float[np.ndarray, "n p"]  # share of the light that the neighbours let through
    root: Int[np.ndarray, " n"]  # the vertex that carries the strand


class Style(NamedTuple):
    """How the hair of the head is cut and combed; lengths in world units (0.4 m)."""

    name: str
    front: float  # height of the hairline over the forehead
    temple: float
    nape: float
    length: float
    volume: float  # thickness of the layer over the skull
    lift: float  # how far roots stand up
    parting: float  # x where hair divides; beyond the head: combed to one side
    back: float  # share of combing backwards
    fringe: float  # length of the hair that falls over the forehead, or 0
    wave: float
    curl: float
    cut: float  # no hair hangs below this height
    gap: float  # half-width of the face that long hair leaves free
    strands: int


def sample_style(rng: np.random.Generator, person: Person) -> Style:
    """Draws a haircut; men's are mostly short."""
    names = ("bald", "buzz", "short", "combed", "curly", "bob", "long", "tied")
    odds = (0.09, 0.15, 0.30, 0.20, 0.10, 0.05, 0.08, 0.03)
    if not person.male:
        odds = (0.01, 0.03, 0.06, 0.06, 0.13, 0.23, 0.33, 0.15)
    name = str(rng.choice(names, p=odds))
    u = lambda low, high: float(rng.uniform(low, high))
    recede = max(0.0, person.age - 0.4) * person.male * u(0, 0.12)
    length = {"bald": 0.004, "buzz": u(0.006, 0.014), "short": u(0.04, 0.09), "tied": u(0.22, 0.3),
              "combed": u(0.09, 0.16), "curly": u(0.08, 0.24), "bob": u(0.33, 0.5),
              "long": u(0.55, 1.0)}[name]  # fmt: skip
    volume = {"bald": 0.0, "buzz": 0.004, "short": u(0.012, 0.04), "combed": u(0.02, 0.05),
              "curly": u(0.04, 0.11), "bob": u(0.025, 0.06), "long": u(0.02, 0.055),
              "tied": u(0.008, 0.02)}[name]  # fmt: skip
    fringed = name in ("short", "bob", "long") and rng.random() < 0.35
    return Style(
        name=name,
        front=0.195 + recede + float(rng.normal(0, 0.012)),
        temple=0.11 + 0.5 * recede + u(-0.02, 0.02),
        nape=u(-0.19, -0.12),
        length=length,
        volume=volume,
        lift={"short": u(0.15, 0.9), "buzz": 0.8, "curly": 1.2}.get(name, u(0.15, 0.5)),
        parting=float(rng.choice([-0.06, 0.0, 0.06, -0.4, 0.4]) + rng.normal(0, 0.01)),
        back=1.0 if name == "tied" else u(0.0, 1.0) * (name in ("combed", "short", "long")),
        fringe=u(0.09, 0.15) if fringed else 0.0,
        wave=u(0, 1) ** 2 * (name in ("bob", "long", "combed", "curly")),
        curl=person.curl if name in ("curly", "short", "buzz") else 0.3 * person.curl * u(0, 1),
        cut={"bob": u(-0.24, -0.12), "long": u(-0.75, -0.3)}.get(name, -0.18),
        gap=u(0.125, 0.165),
        strands={"bald": 0, "short": 3400, "buzz": 3400, "combed": 2600}.get(name, 1600),
    )


def hair_depth(position: Float[np.ndarray, "*n 3"], style: Style) -> Float[np.ndarray, "*n"]:
    """Height above the hairline: hair grows where it is positive. Ears stay free."""
    x, y, z = np.moveaxis(position, -1, 0)
    angle = np.abs(np.arctan2(x, z + 0.0375))
    side = style.nape + 0.10
    line = np.interp(
        angle,
        (0.0, 0.5, 0.85, 1.15, 1.45, 1.62, 2.1, np.pi),
        (style.front, style.front + 0.012, style.front - 0.02, style.temple, side - 0.01, 0.065,
         style.nape + 0.02, style.nape),
    )  # fmt: skip
    ear = step(np.abs(x) - 0.176, 0.003) * bump(y + 0.0, 0.055) * bump(z + 0.03, 0.05)
    return y - line - 0.3 * ear


def sample_roots(
    rng: np.random.Generator, weight: Float[np.ndarray, " v"], triangles: np.ndarray,
    vertices: Float[np.ndarray, "v 3"], count: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Points spread evenly over the part of the surface with weight: [n, 3] and their vertex."""
    corner = vertices[triangles]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=-1
    )
    mass = area * weight[triangles].mean(-1)
    if mass.sum() <= 0:
        raise ValueError("no part of the surface has a positive weight for roots")
    chosen = rng.choice(len(mass), count, p=mass / mass.sum())
    share = rng.dirichlet([1, 1, 1], count)
    points = np.einsum("nk,nkc->nc", share, corner[chosen])
    return points, triangles[chosen, share.argmax(-1)]


def grow(
    rng: np.random.Generator, anatomy: Anatomy, person: Person, style: Style,
    vertices: Float[np.ndarray, "v 3"], shoulders: Shoulders,
) -> Strands:  # fmt: skip
    """Lets the hair of the head grow and fall, outside skull, neck and clothes."""
    head = anatomy.head
    skin = head.triangles[head.triangle_part == 0]
    depth = hair_depth(head.template, style)
    count = style.strands
    roots, carrier = sample_roots(rng, (depth > 0).astype("f4"), skin, vertices, count)
    skull = measure_skull(vertices[vertices[:, 1] > -0.24])
    inner = rng.random(count)  # 0 lies on the skull, 1 is the outermost layer
    length = style.length * rng.uniform(0.75, 1.05, count)
    over_forehead = (roots[:, 2] > 0.02) & (np.abs(roots[:, 0]) < 0.13) & (roots[:, 1] > 0.2)
    fringe = over_forehead & (style.fringe > 0) & (rng.random(count) < 0.85)
    length = np.where(fringe, style.fringe * rng.uniform(0.8, 1.15, count) + 0.05, length)
    if style.name in ("short", "combed", "buzz"):  # shorter at the sides
        length *= np.clip(0.35 + (roots[:, 1] - style.nape) / 0.35, 0.25, 1.0)
    edge = np.clip(depth[carrier] / 0.05, 0.15, 1.0)
    points = _fall(rng, style, roots, length, inner, fringe, edge, skull, shoulders)
    along = np.linspace(0, 1, POINTS)
    coarse = {"buzz": 0.0024, "short": 0.0036, "combed": 0.0056}.get(style.name, 0.0078)
    width = coarse * rng.uniform(0.5, 1.3, (count, 1)) * (1 - along**2 * 0.8)
    width *= np.clip(0.3 + depth[carrier] / 0.03, 0.3, 1.0)[:, None]  # finer at the hairline
    shade = (0.45 + 0.55 * inner[:, None]) * (0.65 + 0.35 * np.minimum(1, along * 3))
    colour = person.hair * np.exp(rng.normal(0, 0.16, (count, 1)) + rng.normal(0, 0.03, (count, 3)))
    return Strands(points.astype("f4"), width.astype("f4"), colour.astype("f4"),
                   shade.astype("f4"), carrier.astype("i4"))  # fmt: skip


def _comb(style: Style, place: np.ndarray, fringe: np.ndarray) -> np.ndarray:
    """The direction hair is combed in at a place, before it is laid along the skull."""
    side = np.tanh((place[:, 0] - style.parting) / 0.03)
    down = np.stack([0.9 * side, np.full(len(place), -0.6), np.full(len(place), -0.25)], -1)
    back = np.stack([0.15 * side, np.full(len(place), -0.15), np.full(len(place), -1.0)], -1)
    forward = np.stack(
        [0.35 * np.sign(-style.parting) + 0 * side, 0 * side - 0.3, 0 * side + 1], -1
    )
    combed = (1 - style.back) * down + style.back * back
    if style.name == "tied":
        combed = np.array([0.0, 0.13, -0.24]) - place
    return np.where(fringe[:, None], forward, combed)


def _fall(rng, style, roots, length, inner, fringe, edge, skull, shoulders) -> np.ndarray:
    """Steps every strand on from its root: combing, weight, waves, and what is in the way."""
    count, stride = len(roots), (length / (POINTS - 1))[:, None]
    points = np.empty((count, POINTS, 3))
    points[:, 0] = roots
    radial = roots - CENTRE
    unit = radial / np.linalg.norm(radial, axis=-1, keepdims=True)
    jitter = rng.normal(0, 0.14, (count, 3))
    comb = _comb(style, roots, fringe)
    comb -= (comb * unit).sum(-1, keepdims=True) * unit
    comb /= np.linalg.norm(comb, axis=-1, keepdims=True) + 1e-6
    heading = comb + unit * style.lift + jitter
    phase = (
        rng.uniform(0, 2 * np.pi, (count, 1))
        if style.curl > 0.5
        else rng.normal(0, 0.5, (count, 1))
    )
    layer = 0.004 + style.volume * inner * edge
    tightness = 0.6 if style.lift < 1 else 0.25
    for s in range(1, POINTS):
        heading /= np.linalg.norm(heading, axis=-1, keepdims=True) + 1e-6
        wave = style.wave * 0.5 * np.sin(phase + s * 1.5) * np.cross(heading, unit)
        kink = style.curl * rng.normal(0, 0.9, (count, 3))
        place = points[:, s - 1] + stride * (heading + wave + kink)
        place = _keep_off(style, place, layer, s, fringe, skull, shoulders)
        points[:, s] = place
        heading = place - points[:, s - 1]
        heading /= np.linalg.norm(heading, axis=-1, keepdims=True) + 1e-6
        radial = place - CENTRE
        unit = radial / np.linalg.norm(radial, axis=-1, keepdims=True)
        comb = _comb(style, place, fringe)
        comb -= (comb * unit).sum(-1, keepdims=True) * unit
        comb /= np.linalg.norm(comb, axis=-1, keepdims=True) + 1e-6
        fallen = np.clip((0.12 - place[:, 1:2]) / 0.12, 0, 1)  # hangs free below the skull's side
        weight = np.array([0.0, -1.0, 0.0]) * (0.25 + 1.2 * fallen if style.length > 0.2 else 0.12)
        heading = heading * (1 - 0.5 * fallen) + tightness * comb * (1 - fallen) + weight
        heading += 0.12 * jitter
    return points


def _keep_off(style, place, layer, step_index, fringe, skull, shoulders) -> np.ndarray:
    """Pushes points out of the head, away from the face, and above the cut."""
    face = (place[:, 2] > 0.03) & (place[:, 1] < 0.22) & ~fringe
    narrow = face & (np.abs(place[:, 0]) < style.gap)
    outward = np.where(place[:, 0] == 0, 1.0, np.sign(place[:, 0])) * style.gap
    place[:, 0] = np.where(narrow, outward, place[:, 0])
    radial = place - CENTRE
    radius = np.linalg.norm(radial, axis=-1)
    unit = radial / radius[:, None]
    floor = skull(unit) + layer * min(1.0, step_index / 2.5)
    if style.lift < 1:  # combed hair also lies on the head, not above it
        ceiling = floor + 0.012
        radius = np.where(place[:, 1] > 0.0, np.minimum(radius, ceiling), radius)
    place = CENTRE + unit * np.maximum(radius, floor)[:, None]
    top = shoulders(place) + 0.006 + 0.5 * layer
    resting = place[:, 1] < top
    slide = np.where(place[:, 2] > -0.04, 0.03, -0.03)  # down the chest or the back
    place[:, 2] += resting * slide
    place[:, 1] = np.where(
        resting, np.maximum(place[:, 1], shoulders(place) + 0.006 + 0.5 * layer), place[:, 1]
    )
    lowest = style.cut + 0.05 * layer / (style.volume + 0.01)
    place[:, 1] = np.maximum(place[:, 1], np.where(fringe, 0.075, lowest))
    return place


def refine(strands: Strands, parts: int) -> Strands:
    """Divides each segment into parts along a smooth curve: short segments draw faster."""
    if parts == 1:
        return strands
    start, end = strands.points[:, :-1], strands.points[:, 1:]
    slope = np.gradient(strands.points, axis=1)
    share = (np.arange(parts) / parts)[:, None]
    cube, square = share**3, share**2
    at = lambda values: values[:, :, None, :]
    curve = (
        (2 * cube - 3 * square + 1) * at(start) + (3 * square - 2 * cube) * at(end)
        + (cube - 2 * square + share) * at(slope[:, :-1]) + (cube - square) * at(slope[:, 1:])
    )  # fmt: skip
    count = len(strands.root)
    points = np.concatenate([curve.reshape(count, -1, 3), strands.points[:, -1:]], 1)
    line = lambda v: np.concatenate(
        [(v[:, :-1, None] + (v[:, 1:] - v[:, :-1])[..., None] * share[:, 0]).reshape(count, -1),
         v[:, -1:]], 1)  # fmt: skip
    return strands._replace(
        points=points.astype("f4"), width=line(strands.width), shade=line(strands.shade)
    )
