"""The topology of FLAME's mesh, which Next3D draws: read from the user's files, never shipped.

Needed are `head_template.obj` (5023 vertices, 5118 UVs, 9976 triangles) and the picture of the
face mask in UV space, as they come with DECA; or what a released checkpoint holds of them.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import obj_file

MASK_SIDE = 256
# Entries of a released checkpoint that describe its mesh.
TRIANGLES, UV, UV_TRIANGLES = "faces", "raw_uvcoords", "uvfaces"


class Topology(NamedTuple):
    """A mesh without its vertices' positions; triangles turn counterclockwise from outside."""

    triangles: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "t 2"]  # in [0, 1], v upwards
    uv_triangles: Int[np.ndarray, "f 3"]  # indices into uv
    mask: Float[np.ndarray, "m m 1"]  # in [0, 1], 1 = face; row 0 at v = 1


def read_topology(mesh: str | os.PathLike, mask: str | os.PathLike) -> Topology:
    """Reads an OBJ file with UVs and the picture of the face mask.

    Raises:
        UserError: a file is missing or is not what is expected.
    """
    read = obj_file.read_obj(mesh)
    if not read.polygons:
        raise UserError(f"{mesh}: found no triangles; expected an OBJ mesh")
    if others := {len(polygon) for polygon in read.polygons} - {3}:
        raise UserError(
            f"{mesh}: damaged or not made of triangles, found a face of {min(others)} corners"
        )
    if not len(read.uvs):
        raise UserError(f"{mesh}: found no UVs (vt); expected FLAME's head_template.obj")
    faces = np.array(read.polygons, np.int32)
    if faces.min() < 0 or (faces.max((0, 1)) >= (len(read.points), len(read.uvs))).any():
        raise UserError(f"{mesh}: a face names a vertex that does not exist; export it again")
    uv = read.uvs.astype(np.float32)
    return Topology(faces[..., 0], uv, faces[..., 1], read_mask(mask))


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
