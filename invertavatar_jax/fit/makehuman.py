"""Reads the head part of MakeHuman's base mesh and its targets."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invertavatar_jax.fit import head_layout, obj_file

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


def read_head(path: Path) -> Source:
    """Cuts the head out of the base mesh; eyelashes are left out (opaque quads)."""
    points, uvs, polygons, groups = obj_file.read_obj(path)
    quads, uv_quads = np.moveaxis(np.array(polygons), -1, 0)
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
