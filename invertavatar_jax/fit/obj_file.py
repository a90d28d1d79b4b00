"""Wavefront OBJ files as text: points, UVs and polygons."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.errors import UserError

Corner = tuple[int, int]  # indices of a point and a UV, from 0; the point's where it has no UV


class Obj(NamedTuple):
    """What a file holds; other lines are skipped."""

    points: Float[np.ndarray, "n 3"]
    uvs: Float[np.ndarray, "m 2"]
    polygons: list[list[Corner]]
    groups: list[str]  # of each polygon; "" before the first


def read_obj(path: str | os.PathLike) -> Obj:
    """Reads a file; indices are not checked against what they point at.

    Raises:
        UserError: the file cannot be read, or a number in it is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected an OBJ mesh as text ({error})") from error
    points, uvs, polygons, groups, group = [], [], [], [], ""
    try:
        for line in lines:
            kind, *words = line.split() or [""]
            if kind == "v":
                points.append([float(x) for x in words[:3]])
            elif kind == "vt":
                uvs.append([float(x) for x in words[:2]])
            elif kind == "g":
                group = words[0] if words else ""
            elif kind == "f":
                polygons.append([_corner(word) for word in words])
                groups.append(group)
        found = np.array(points).reshape(-1, 3), np.array(uvs).reshape(-1, 2)
    except ValueError as error:
        raise UserError(f"{path}: this OBJ mesh is damaged ({error}); copy it again") from error
    return Obj(*found, polygons, groups)


def _corner(word: str) -> Corner:
    point, uv, *_ = [*word.split("/"), ""]
    return int(point) - 1, int(uv or point) - 1
