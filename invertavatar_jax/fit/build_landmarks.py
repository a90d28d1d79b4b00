"""Places MediaPipe's landmarks on the head model, from renders whose geometry is known.

The detector looks at renders of many people, expressions and views. A landmark's place on the
surface is the point whose image stays nearest to the detections, so that it also moves as the
detector says when lids close and lips part. Run with a folder of shards of synthetic heads:
python -m invertavatar_jax.fit.build_landmarks SHARDS
"""

import argparse
import pathlib
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.fit.camera import from_vector, project
from invertavatar_jax.fit.landmarks import (
    IRIS_LEFT,
    IRIS_RIGHT,
    LandmarkNetwork,
    landmark_network,
)
from invertavatar_jax.fit.morphable import HeadModel, load_head_model, vertices

MESH_LANDMARKS = 468
BROAD = 0.03  # of the distance between the irises: a detection that is off by it counts half
WORST = 0.05  # median distance of landmarks that are left out: they slide along silhouettes
GRID = 6  # steps along a triangle's edge in the finest search
FIRST_FRAMES, NEIGHBOURS = 64, 160  # frames and candidates of the coarse and middle searches


class Sightings(NamedTuple):
    """What the detector said about n renders; distances are in those between the irises."""

    landmark: Float[np.ndarray, "n 468 2"]  # image sides
    vertex: Float[np.ndarray, "n v 2"]  # where the vertices are drawn, image sides
    iris_distance: Float[np.ndarray, " n"]  # image sides
    person: Int[np.ndarray, " n"]


def sight(head: HeadModel, shards: list[pathlib.Path], network: LandmarkNetwork) -> Sightings:
    """Runs the detector on every render and on its mirror image."""
    place = jax.jit(lambda *motion: vertices(head, *motion))
    mirror = mirror_vertices(head)
    rows, person = [], 0
    for shard in shards:
        with np.load(shard) as data:
            stored = {k: data[k] for k in ("image", "identity", "expression", "gaze_rad", "camera")}
        for i in range(len(stored["identity"])):
            person += 1
            for t in range(stored["image"].shape[1]):
                motion = stored["identity"][i], stored["expression"][i, t], stored["gaze_rad"][i, t]
                points = np.asarray(place(*map(jnp.asarray, motion)))
                image = project(from_vector(stored["camera"][i, t]), points)[0]
                flipped = np.array([1, 0]) + np.array([-1, 1]) * image[mirror]
                picture = stored["image"][i, t]
                for shown, drawn in ((picture, image), (picture[:, ::-1], flipped)):
                    rows += [(*row, person) for row in _sight_one(shown, drawn, network)]
    return Sightings(*(np.stack(column) for column in zip(*rows, strict=True)))


def _sight_one(picture, drawn, network) -> Iterator[tuple]:
    for found in network.find(np.ascontiguousarray(picture), 1):
        points = found[:, :2] / picture.shape[0]
        distance = np.linalg.norm(points[IRIS_LEFT] - points[IRIS_RIGHT])
        yield points[:MESH_LANDMARKS], drawn.astype(np.float32), distance


def mirror_vertices(head: HeadModel) -> Int[np.ndarray, " v"]:
    """The vertex on the other side of the face for each vertex; the template is symmetric."""
    from scipy.spatial import cKDTree  # pyright: ignore

    return cKDTree(head.template).query(head.template * np.array([-1, 1, 1]))[1]


def place_landmarks(
    head: HeadModel, seen: Sightings
) -> tuple[Int[np.ndarray, "468 3"], Float[np.ndarray, "468 3"]]:
    """Vertices and weights of the surface point that follows each landmark best."""
    skin = head.triangles[head.triangle_part == head.part_names.index("skin")]
    skin = skin[head.face_mask[skin].max(1) > 0]
    candidates = np.unique(head.weld[skin])
    few = np.linspace(0, len(seen.person) - 1, FIRST_FRAMES).astype(int)
    coarse = seen.vertex[few][:, candidates]
    corners, weights = [], []
    for landmark in range(MESH_LANDMARKS):
        cost = _cost(seen, landmark, coarse, few)
        first = head.template[candidates[cost.argmin()]]
        near = np.linalg.norm(head.template[candidates] - first, axis=-1).argsort()[:NEIGHBOURS]
        best = candidates[near][_cost(seen, landmark, seen.vertex[:, candidates[near]]).argmin()]
        around = skin[(head.weld[skin] == best).any(1)]
        triangle, share = _refine(seen, landmark, around)
        corners.append(triangle)
        weights.append(share)
    return np.stack(corners), np.stack(weights)


def _cost(seen: Sightings, landmark: int, image: Float[np.ndarray, "n c 2"], rows=slice(None)):
    away = image - seen.landmark[rows, landmark, None]
    square = np.square(away).sum(-1) / np.square(BROAD * seen.iris_distance[rows, None])
    return (square / (1.0 + square)).mean(0)


def _refine(seen: Sightings, landmark: int, triangles: Int[np.ndarray, "f 3"]):
    """Best point of some triangles, over a grid of weights."""
    steps = [(i, j, GRID - i - j) for i in range(GRID + 1) for j in range(GRID + 1 - i)]
    grid = np.array(steps, np.float32) / GRID
    image = np.einsum("gk,nfkc->nfgc", grid, seen.vertex[:, triangles])
    cost = _cost(seen, landmark, image.reshape(len(image), -1, 2))
    row, point = divmod(int(cost.argmin()), len(grid))
    return triangles[row], grid[point]


def distances(
    seen: Sightings, corners: Int[np.ndarray, "l 3"], weights: Float[np.ndarray, "l 3"]
) -> Float[np.ndarray, "n l"]:
    """From each surface point's image to the detection, over the distance between the irises."""
    image = np.einsum("lk,nlkc->nlc", weights, seen.vertex[:, corners])
    return np.linalg.norm(image - seen.landmark, axis=-1) / seen.iris_distance[:, None]


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


def main() -> None:
    """Places the landmarks, prints their error on people left out, and writes them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("shards", type=pathlib.Path, help="folder of rendered synthetic heads")
    parser.add_argument("--head", type=pathlib.Path, help="head model to write to")
    options = parser.parse_args()
    bundled = resources.files("invertavatar_jax") / "assets/head_makehuman.npz"
    path = options.head or pathlib.Path(str(bundled))
    head = load_head_model(path)
    seen = sight(head, sorted(options.shards.glob("*.npz")), landmark_network())
    held_out = seen.person % 4 == 0
    pick = lambda chosen: Sightings(*(column[chosen] for column in seen))
    corners, weights = place_landmarks(head, pick(~held_out))
    away = distances(pick(held_out), corners, weights)
    kept = np.median(away, axis=0) < WORST
    rms = np.sqrt(np.mean(np.square(away[:, kept])))
    print(
        f"{len(seen.person)} sightings of {len(np.unique(seen.person))} people; "
        f"{kept.sum()} landmarks kept; on people left out, in % of the distance between the "
        f"irises: median {100 * np.median(away[:, kept]):.2f}, rms {100 * rms:.2f}"
    )
    write_landmarks(path, np.flatnonzero(kept), corners[kept], weights[kept])


if __name__ == "__main__":
    main()
