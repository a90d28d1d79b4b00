"""Places MediaPipe's landmarks on the head model."""

import pathlib

import numpy as np
from jaxtyping import Float, Int


def closest_on_surface(
    points: Float[np.ndarray, "n 3"],
    vertices: Float[np.ndarray, "v 3"],
    triangles: Int[np.ndarray, "f 3"],
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Nearest triangle to each point, and the barycentric weights of its nearest point."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    chosen = np.empty(len(points), np.int64)
    weights = np.empty((len(points), 3))
    for i, point in enumerate(points):
        bary = _closest_in_triangles(point, a, b, c)
        place = bary[:, :1] * a + bary[:, 1:2] * b + bary[:, 2:] * c
        chosen[i] = np.square(place - point).sum(-1).argmin()
        weights[i] = bary[chosen[i]]
    return chosen, weights


def _closest_in_triangles(point, a, b, c) -> Float[np.ndarray, "f 3"]:
    """Barycentric weights of the point of each triangle that is closest to `point`."""
    ab, ac, ap = b - a, c - a, point - a
    dot = lambda u, v: (u * v).sum(-1)
    d00, d01, d11, d20, d21 = dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-20)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack((1 - v - w, v, w), -1)
    edges = [_closest_on_edge(point, *pair) for pair in ((a, b), (b, c), (c, a))]
    zero = np.zeros(len(a))
    options = [
        inside,
        np.stack((1 - edges[0], edges[0], zero), -1),
        np.stack((zero, 1 - edges[1], edges[1]), -1),
        np.stack((edges[2], zero, 1 - edges[2]), -1),
    ]
    distance = [
        np.square(o[:, :1] * a + o[:, 1:2] * b + o[:, 2:] * c - point).sum(-1) for o in options
    ]
    distance[0] = np.where((inside >= 0).all(-1), distance[0], np.inf)
    return np.choose(np.argmin(distance, 0)[:, None], options)


def _closest_on_edge(point, start, end) -> Float[np.ndarray, " f"]:
    along = end - start
    length = np.maximum((along * along).sum(-1), 1e-20)
    return np.clip(((point - start) * along).sum(-1) / length, 0.0, 1.0)


def write_landmarks(
    path: pathlib.Path,
    index: Int[np.ndarray, " l"],
    vertices: Int[np.ndarray, "l 3"],
    weights: Float[np.ndarray, "l 3"],
) -> None:
    """Replaces the landmarks in a head model's file; the rest stays as it is."""
    with np.load(path) as data:
        stored = dict(data)
    stored["landmark_index"] = np.asarray(index, np.uint16)
    stored["landmark_vertices"] = np.asarray(vertices, np.uint16)
    stored["landmark_weights"] = np.asarray(weights, np.float32)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **stored)
    partial.replace(path)
