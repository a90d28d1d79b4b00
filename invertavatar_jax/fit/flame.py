"""The topology of FLAME's mesh, which Next3D draws: read from the user's files, never shipped.

Needed are `head_template.obj` (5023 vertices, 5118 UVs, 9976 triangles) and the picture of the
face mask in UV space, as they come with DECA; or what a released checkpoint holds of them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from invertavatar_jax.errors import UserError

MASK_SIDE = 256
# Entries of a released checkpoint that describe its mesh.
TRIANGLES, UV, UV_TRIANGLES = "faces", "raw_uvcoords", "uvfaces"


class Topology(NamedTuple):
    """A mesh without its vertices' positions; triangles turn counterclockwise from outside."""

    triangles: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "t 2"]  # in [0, 1], v upwards
    uv_triangles: Int[np.ndarray, "f 3"]  # indices into uv
    mask: Float[np.ndarray, "m m 1"]  # in [0, 1], 1 = face; row 0 at v = 1


class Obj(NamedTuple):
    """The triangles of an OBJ file."""

    vertices: Float[np.ndarray, "v 3"]
    uv: Float[np.ndarray, "t 2"]
    triangles: Int[np.ndarray, "f 3"]
    uv_triangles: Int[np.ndarray, "f 3"]  # as `triangles` where the file has no UVs


def read_topology(mesh: str | os.PathLike, mask: str | os.PathLike) -> Topology:
    """Reads an OBJ file with UVs and the picture of the face mask.

    Raises:
        UserError: a file is missing or is not what is expected.
    """
    read = read_obj(mesh)
    if not len(read.uv):
        raise UserError(f"{mesh}: found no UVs (vt); expected FLAME's head_template.obj")
    return Topology(read.triangles, read.uv, read.uv_triangles, read_mask(mask))


def read_mask(path: str | os.PathLike) -> Float[np.ndarray, "m m 1"]:
    """The first channel of a picture, as MASK_SIDE pixels square (the nearest ones)."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))[..., 0]
    except OSError as error:
        raise UserError(f"{path}: expected a picture of the face mask ({error})") from error
    rows, columns = (np.arange(MASK_SIDE) * n // MASK_SIDE for n in pixels.shape)
    return np.asarray(pixels[rows][:, columns, None] / 255, np.float32)


def from_released(named: Mapping[str, np.ndarray], mask: Float[np.ndarray, "1 1 m m"]) -> Topology:
    """The topology that a released checkpoint holds.

    Args:
        named: its arrays by name.
        mask: its attribute uv_face_mask, which is not among them.

    Source: NEXT3D section 10.
    """
    triangles, uv, uv_triangles = (np.asarray(named[n])[0] for n in (TRIANGLES, UV, UV_TRIANGLES))
    as_int = lambda x: x.astype(np.int32)
    return Topology(as_int(triangles), uv, as_int(uv_triangles), np.asarray(mask)[0, 0, :, :, None])


def read_obj(path: str | os.PathLike) -> Obj:
    """Reads vertices, UVs and triangles of a text OBJ file.

    Raises:
        UserError: the file is missing, holds no triangles, or other faces than triangles.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected an OBJ mesh as text ({error})") from error
    rows: dict[str, list] = {"v": [], "vt": [], "f": []}
    for line in lines:
        kind, *values = line.split() or [""]
        if kind in rows:
            rows[kind].append(values)
    if not rows["v"] or not rows["f"]:
        raise UserError(f"{path}: found no triangles; expected an OBJ mesh")
    try:
        corners = [[_corner(value) for value in face] for face in rows["f"]]
        faces = np.array(corners, np.int32).reshape(len(corners), -1, 2) - 1
        vertices = np.array([row[:3] for row in rows["v"]], np.float32)
        uv = np.array([row[:2] for row in rows["vt"]], np.float32).reshape(-1, 2)
    except ValueError as error:
        raise UserError(f"{path}: damaged or not made of triangles ({error})") from error
    if faces.shape[1] != 3:
        raise UserError(f"{path}: found faces of {faces.shape[1]} corners; expected triangles")
    if faces.min() < 0 or faces[..., 0].max() >= len(vertices):
        raise UserError(f"{path}: a face names a vertex that does not exist; export it again")
    return Obj(vertices, uv, faces[..., 0], faces[..., 1])


def _corner(text: str) -> tuple[int, int]:
    """Numbers of vertex and UV; without a UV the vertex's."""
    parts = text.split("/")
    vertex = int(parts[0])
    return vertex, int(parts[1]) if len(parts) > 1 and parts[1] else vertex
