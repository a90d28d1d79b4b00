"""Reads the head part of MakeHuman's base mesh and its targets."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invertavatar_jax.fit import head_layout

COLLAR_DM, SIDE_DM = 5.5, 1.6  # the body is cut below and beside these
GROUPS = {
    "body": "skin",
    "helper-l-eye": "eye_l",
    "helper-r-eye": "eye_r",
    "helper-upper-teeth": "teeth_up",
    "helper-lower-teeth": "teeth_lo",
    "helper-tongue": "tongue",
}
PART_NAMES = (*GROUPS.values(), "inner_mouth", "eye_socket")


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
