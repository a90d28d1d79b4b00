"""What a synthetic person wears: a garment around the shoulders, and sometimes glasses."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.data.synthetic.noise import linear, smooth_noise

AROUND, ROWS = 56, 16
PIVOT = np.array([0.0, -0.26, -0.04])  # about where the neck turns


class Solid(NamedTuple):
    """A mesh with a colour per vertex, outward triangles."""

    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "f 3"]
    colour: Float[np.ndarray, "v 3"]
    gloss: Float[np.ndarray, " v"]


def neckline(rng: np.random.Generator) -> tuple[float, float, float]:
    """Height at the sides of the neck, how far it drops in front, and how pointed that is."""
    kind = rng.choice(["crew", "scoop", "vee", "polo", "high"], p=[0.4, 0.15, 0.2, 0.15, 0.1])
    return {"crew": (-0.285, 0.035, 0.8), "scoop": (-0.30, 0.10, 0.9), "vee": (-0.285, 0.14, 0.35),
            "polo": (-0.25, 0.08, 0.25), "high": (-0.225, 0.02, 1.0)}[str(kind)]  # fmt: skip


def top_edge(angle: np.ndarray, line: tuple[float, float, float]) -> np.ndarray:
    """Height of the garment's edge at an angle from the front."""
    side, drop, width = line
    front = np.exp(-np.square(angle / width))
    return side - drop * front + 0.015 * np.cos(angle) * -1


def garment(
    rng: np.random.Generator, skin: Float[np.ndarray, "n 3"], line: tuple[float, float, float]
) -> Solid:
    """Wraps rings around neck, shoulders and chest, outside the skin."""
    angle = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    top = top_edge(angle, line)
    build = rng.uniform(0.9, 1.15)
    depth = np.linspace(0, 1, ROWS) ** 1.3
    height = top + depth[:, None] * (-0.95 - top)
    shoulder = np.interp(height, (-0.95, -0.60, -0.46, -0.40, -0.345, -0.30, -0.22),
                         (0.52, 0.52, 0.46, 0.37, 0.24, 0.155, 0.13)) * build  # fmt: skip
    chest = np.interp(height, (-0.95, -0.5, -0.38, -0.30, -0.22), (0.30, 0.26, 0.19, 0.15, 0.135))
    power = np.interp(height, (-0.5, -0.3), (2.6, 2.0))
    c, s = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    radius = ((s / shoulder) ** power + (c / chest) ** power) ** (-1 / power)
    radius = np.maximum(radius, _skin_reach(skin, angle, height) + 0.013)
    folds = 0.006 * np.cos(angle * rng.integers(5, 11) + 9 * height + rng.uniform(0, 6))
    radius = radius + folds * np.clip(depth[:, None] * 3, 0, 1)
    ring = np.stack([radius * np.sin(angle), height, radius * np.cos(angle) - 0.05], -1)
    lip = ring[:1] * [0.94, 1.0, 0.94] + [0, -0.012, 0]  # the edge turns inwards
    lining = ring[:1] * [0.6, 1.0, 0.6] + [0, -0.07, 0]  # and closes the gap to the neck
    vertices = np.concatenate([lining, lip, ring]).reshape(-1, 3)
    colour = _fabric(rng, np.broadcast_to(angle, ring.shape[:2]), height)
    colour = np.concatenate([colour[:1] * 0.1, colour[:1] * 0.5, colour]).reshape(-1, 3)
    triangles = _grid(ROWS + 2, AROUND)
    return Solid(vertices.astype("f4"), triangles, colour.astype("f4"),
                 np.full(len(vertices), 0.04, "f4"))  # fmt: skip


def _grid(rows: int, columns: int) -> np.ndarray:
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    quads = np.stack([a, a + columns, b, b, a + columns, b + columns], -1)
    return quads.reshape(-1, 3).astype("i4")


def _skin_reach(skin: np.ndarray, angle: np.ndarray, height: np.ndarray) -> np.ndarray:
    """How far the skin reaches sideways around the body's axis, at each ring's points."""
    offset = skin - [0.0, 0.0, -0.05]
    around = np.arctan2(offset[:, 0], offset[:, 2])
    radius = np.hypot(offset[:, 0], offset[:, 2])
    body = skin[:, 1] < -0.19
    near = np.abs((around[body] - angle[:, None] + np.pi) % (2 * np.pi) - np.pi) < 0.16
    reach = np.zeros(height.shape)
    for row in range(len(height)):
        level = np.abs(skin[body, 1] - height[row][:, None]) < 0.022
        reach[row] = np.where(near & level, radius[body], 0).max(-1)
    return reach


def _fabric(rng: np.random.Generator, angle: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Plain, striped or two-coloured cloth in mostly quiet colours."""

    def quiet():
        grey = rng.uniform(0.03, 0.9)
        hue = rng.uniform(0, 1, 3)
        return linear(np.clip(grey + (hue - hue.mean()) * rng.beta(1, 3) * 0.9, 0.02, 0.95))

    first, second = quiet(), quiet()
    kind = rng.choice(["plain", "stripes", "yoke"], p=[0.75, 0.15, 0.1])
    bands = 0.5 + 0.5 * np.sign(np.sin(height * rng.uniform(60, 160)))
    yoke = (height < -0.42) * 1.0
    share = {"plain": 0 * height, "stripes": bands, "yoke": yoke}[str(kind)]
    worn = smooth_noise(rng, 64, 9)[: height.shape[0], : height.shape[1]]
    return (first + (second - first) * share[..., None]) * np.exp(0.10 * worn)[..., None]


def glasses(
    rng: np.random.Generator, eyes: Float[np.ndarray, "2 3"], nose: Float[np.ndarray, "3"]
) -> Solid:
    """Two rims, a bridge and temples; the glass itself is not drawn."""
    across, up = rng.uniform(0.056, 0.066), rng.uniform(0.038, 0.052)
    power, thickness = rng.uniform(2, 4.5), rng.choice([0.0022, 0.0045])
    plane = max(eyes[:, 2].mean() + 0.048, nose[2] - 0.03)
    tubes = []
    for eye, side in zip(eyes, (1, -1), strict=True):
        t = np.linspace(0, 2 * np.pi, 33)
        c, s = np.cos(t), np.sin(t)
        r = (np.abs(c / across) ** power + np.abs(s / up) ** power) ** (-1 / power)
        centre = np.array([eye[0] * 1.02, eye[1] - 0.008, plane])
        rim = centre + np.stack([r * c, r * s, -0.02 * np.abs(r * c / across) ** 2], -1)
        tubes.append(rim)
        hinge = centre + np.array([side * across, 0.012, -0.018])
        tubes.append(np.linspace(hinge, [side * 0.185, hinge[1] + 0.005, -0.03], 9))
    bridge = np.linspace(-1, 1, 9)[:, None]
    inner = (eyes[0, 0] * 1.02 - across) * 1.05
    arch = np.concatenate([bridge * inner, 0.006 - 0.006 * bridge**2, 0 * bridge], -1)
    tubes.append(arch + np.array([0, eyes[:, 1].mean() + 0.004, plane + 0.002]))
    meshes = [_tube(path, thickness) for path in tubes]
    start = np.cumsum([0] + [len(v) for v, _ in meshes[:-1]])
    vertices = np.concatenate([v for v, _ in meshes])
    triangles = np.concatenate([f + s for (_, f), s in zip(meshes, start, strict=True)])
    tone = linear(rng.choice([[0.05, 0.05, 0.05], [0.22, 0.13, 0.08], [0.5, 0.5, 0.52]]))
    return Solid(vertices.astype("f4"), triangles.astype("i4"),
                 np.tile(tone, (len(vertices), 1)).astype("f4"),
                 np.full(len(vertices), 0.5, "f4"))  # fmt: skip


def _tube(path: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A four-sided tube along a path."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    side = np.cross(ahead, [0.13, 0.31, 0.94])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    other = np.cross(ahead, side)
    ring = np.stack([side, other, -side, -other], 1) * radius
    vertices = (path[:, None] + ring).reshape(-1, 3)
    return vertices, _grid(len(path), 4)[:, ::-1]
