"""Meshes for the rasterizers' benchmarks: the bundled head at any fineness, seen from all sides."""

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.fit.morphable import load_head_model

Mesh = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]
ANGLES = ((0, 0), (90, 0), (0, 90), (45, 0), (-45, 0), (-90, 0), (20, 30), (-20, 30))


def head(triangles: int) -> Mesh:
    """The bundled head with its longest edges halved until it has that many triangles, or one more.

    Args:
        triangles: at least the head's own number.
    """
    model = load_head_model()
    vertices, faces = np.float64(model.template), np.asarray(model.triangles)
    while len(faces) < triangles:
        vertices, faces = _halve_edges(vertices, faces, triangles - len(faces))
    return vertices.astype(np.float32), faces.astype(np.int32)


def _halve_edges(vertices: np.ndarray, faces: np.ndarray, more: int) -> Mesh:
    """Puts a vertex on the longest edges, on all at most, for `more` triangles."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), -1)
    edges, side_edge, users = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=-1)
    order = np.argsort(-length, kind="stable")
    cut = order[: np.searchsorted(np.cumsum(users[order]), more) + 1]
    middle = np.full(len(edges), -1)
    middle[cut] = len(vertices) + np.arange(len(cut))
    vertices = np.concatenate([vertices, vertices[edges[cut]].mean(1)])
    return vertices, _split(faces, middle[side_edge].reshape(-1, 3))


def _split(faces: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Two, three or four triangles for one that has 1, 2 or 3 of its edges halved.

    Args:
        middle: the vertex on each edge, from corner k to k + 1, or -1.
    """
    halved = (middle >= 0).sum(1)
    parts = [faces[halved == 0]]
    for first in range(3):
        turned = np.roll(np.concatenate([faces, middle], 1).reshape(-1, 2, 3), -first, 2)
        a, b, c, ab, bc, ca = turned.reshape(-1, 6).T
        pieces = lambda some, *triangles: [np.stack(t, 1)[some] for t in triangles]
        parts += pieces((halved == 1) & (ab >= 0), (a, ab, c), (ab, b, c))
        parts += pieces((halved == 2) & (ab < 0), (a, b, bc), (a, bc, ca), (ca, bc, c))
        if first == 0:
            whole = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
            parts += pieces(halved == 3, *whole)
    return np.concatenate(parts)


def views(vertices: Float[np.ndarray, "v 3"], number: int, size: int) -> np.ndarray:
    """[number, v, 3]: orthographic views in pixels, z in (0, 3), smallest = nearest."""
    middle = (vertices.min(0) + vertices.max(0)) / 2
    placed = np.float64(vertices - middle) / np.ptp(vertices, axis=0).max() * 0.9
    seen = []
    for yaw, pitch in np.radians(ANGLES[:number]):
        about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        x, y, z = (placed @ (np.array(about_x) @ np.array(about_y)).T).T
        seen.append(np.stack([(x + 0.5) * size, (0.5 - y) * size, 1.5 - z], 1))
    return np.stack(seen).astype(np.float32)


def screen(size: int, count: int, seed: int = 0) -> Mesh:
    """A jittered, turned grid of count x count vertices that covers the whole image."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-0.1 * size, 1.1 * size, count)
    xy = np.stack(np.meshgrid(line, line), -1)
    xy = xy + rng.uniform(-0.3, 0.3, xy.shape) * (line[1] - line[0])
    angle = rng.uniform(0, 2 * np.pi)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    xy = size / 2 + 1.3 * (xy - size / 2) @ np.array(turn).T
    vertices = np.concatenate([xy, rng.uniform(1, 2, (count, count, 1))], -1).reshape(-1, 3)
    n = np.arange(count * count).reshape(count, count)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
    faces = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)]).reshape(-1, 3)
    return vertices.astype(np.float32), faces.astype(np.int32)


def truth(
    seen: Float[np.ndarray, "b v 3"], faces: Int[np.ndarray, "f 3"], size: int
) -> tuple[Int[np.ndarray, "b h w"], np.ndarray]:
    """Front triangles in float64: the nearest of each pixel, and where it is hard to tell.

    Returns:
        numbers, -1 where there is none; and where the two nearest lie closer than float32 tells
        apart, or a pixel's centre on an edge.
    """
    drawn = [_truth(np.float64(view)[faces], size) for view in seen]
    return np.stack([ids for ids, _ in drawn]), np.stack([near for _, near in drawn])


def _truth(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = e1[:, 0] * e2[:, 1] - e2[:, 0] * e1[:, 1]
    first = np.clip(np.ceil(corners[..., :2].min(1) - 0.5), 0, size).astype(int)
    last = np.clip(np.floor(corners[..., :2].max(1) - 0.5), -1, size - 1).astype(int)
    across, down = np.maximum(last - first + 1, 0).T
    count = np.where(area < 0, across * down, 0)
    face = np.repeat(np.arange(len(corners)), count)
    rank = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column, row = first[face, 0] + rank % across[face], first[face, 1] + rank // across[face]
    dx, dy = column + 0.5 - a[face, 0], row + 0.5 - a[face, 1]
    w1 = (dx * e2[face, 1] - e2[face, 0] * dy) / area[face]
    w2 = (e1[face, 0] * dy - dx * e1[face, 1]) / area[face]
    depth = a[face, 2] + w1 * e1[face, 2] + w2 * e2[face, 2]
    least = np.minimum(np.minimum(w1, w2), 1 - w1 - w2)
    inside = least >= 0
    place = (row * size + column)[inside]
    order = np.lexsort((face[inside], depth[inside], place))
    place, depth, face = place[order], depth[inside][order], face[inside][order]
    nearest = np.concatenate([[True], place[1:] != place[:-1]])
    ids = np.full(size * size, -1)
    ids[place[nearest]] = face[nearest]
    close = np.zeros(size * size, bool)
    second = np.flatnonzero(~nearest & np.concatenate([[False], nearest[:-1]]))
    close[place[second[depth[second] - depth[second - 1] < 1e-6]]] = True
    return ids.reshape(size, size), close.reshape(size, size)
