"""How people's heads differ: principal components of MakeHuman's targets and macro targets."""

import re
from pathlib import Path

import numpy as np

from invertavatar_jax.fit.makehuman import Source, read_target

# Standard deviation of a target's weight in people; asymmetries are slight.
TARGET_FOLDERS = {
    "head": 0.14, "nose": 0.22, "chin": 0.16, "cheek": 0.2, "ears": 0.22, "eyes": 0.2,
    "eyebrows": 0.25, "forehead": 0.16, "mouth": 0.2, "neck": 0.15, "asym": 0.09,
}  # fmt: skip
SIDES_CORRELATION = 0.9  # between the left and the right weight of a paired target
COMPONENTS = 80


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


def group_means(basis: np.ndarray, people: np.ndarray, groups: dict[str, np.ndarray]) -> np.ndarray:
    """Mean coefficients of the people of each group, weighted by how much they are of it."""
    flat, deltas = basis.reshape(len(basis), -1), people.reshape(len(people), -1)
    coefficients = deltas @ flat.T / np.square(flat).sum(1)
    return np.stack([share @ coefficients / share.sum() for share in groups.values()])
