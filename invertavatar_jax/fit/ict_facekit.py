"""ICT-FaceKit's head, from the folder of a user's checkout (MIT licence; it does not ship here).

Read are `generic_neutral_mesh.obj`, 100 identity shapes and 53 expression shapes, OBJ files with
one numbering of vertices, and landmarks where `vertex_indices.json` lists them.

Expressions get ARKit's names and order: the halves of browInnerUp and cheekPuff are joined, and
tongueOut, which the model lacks, moves nothing. Eyes lie where the bundled head has them, so
that cameras fit both. Tear fluid, lashes and the shells over the eyes are left out: they are
transparent there, and everything is opaque here.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import obj_file
from invertavatar_jax.fit.morphable import HeadModel, eye_centre, load_head_model

NEUTRAL, IDENTITIES = "generic_neutral_mesh", 100
_SIDED = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn"),
    *("eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown"),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
_HALVES = ("browInnerUp", "cheekPuff")
_WHOLE = (
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    "mouthShrugUpper",
)
# The files whose sum is the shape of an ARKit name.
EXPRESSIONS: dict[str, tuple[str, ...]] = {
    **{f"{name}Left": (f"{name}_L",) for name in _SIDED},
    **{f"{name}Right": (f"{name}_R",) for name in _SIDED},
    **{name: (f"{name}_L", f"{name}_R") for name in _HALVES},
    **{name: (name,) for name in _WHOLE},
    "tongueOut": (),
}


class Part(NamedTuple):
    """A stretch of the vertices."""

    name: str
    end: int  # the first vertex after it
    slot: tuple[float, float, float, float] | None = None  # of the UV square; None is left out


# Source: ICT-FaceKit's README, table of vertex indices.
PARTS = (
    Part("skin", 9409, (0.004, 0.254, 0.996, 0.996)),
    Part("head_and_neck", 11248, (0.004, 0.004, 0.324, 0.246)),
    Part("inner_mouth", 13294, (0.748, 0.004, 0.870, 0.121)),
    Part("eye_socket_l", 13678, (0.940, 0.004, 0.996, 0.121)),
    Part("eye_socket_r", 14062, (0.876, 0.004, 0.934, 0.121)),
    Part("gums_and_tongue", 17039, (0.748, 0.127, 0.870, 0.246)),
    Part("teeth", 21451, (0.876, 0.127, 0.996, 0.246)),
    Part("eye_l", 23021, (0.540, 0.004, 0.742, 0.246)),
    Part("eye_r", 24591, (0.332, 0.004, 0.534, 0.246)),
    Part("tears_and_lashes", 26719),
)
_FACE = ("skin", "eye_socket_l", "eye_socket_r", "eye_l", "eye_r")
# MediaPipe's numbers of the last 51 of the 68 landmarks that the model lists (brows, nose,
# eyes, lips); those of the jaw's outline slide along it and are left out.
_MEDIAPIPE = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)


class Corners(NamedTuple):
    """Triangles of the kept parts, with a vertex of its own for every (point, UV) pair."""

    point: Int[np.ndarray, " v"]  # in the OBJ files' numbering
    uv: Float[np.ndarray, "v 2"]
    triangles: Int[np.ndarray, "f 3"]
    part: Int[np.ndarray, " f"]


def head_model(
    folder: str | Path, *, parts: tuple[Part, ...] = PARTS, identities: int = IDENTITIES
) -> HeadModel:
    """Reads a checkout's model.

    Args:
        folder: the checkout, or its folder FaceXModel.
        parts: how the vertices are divided.
        identities: how many identity shapes there are.

    Raises:
        UserError: a file is missing or damaged, or the mesh is not the one expected.
    """
    folder = _find(Path(folder))
    path = folder / f"{NEUTRAL}.obj"
    neutral, faces = _read_points(path, parts[-1].end)
    corners = _split_corners(path, parts)
    bundled = load_head_model()
    world = _placement(neutral, parts, bundled, path)
    shape = lambda name: _read_shape(folder / f"{name}.obj", neutral, faces) * world[0]
    at_vertices = lambda deltas: np.stack(deltas)[:, corners.point].astype(np.float32)
    eyes = _point_parts(parts, "eye_l"), _point_parts(parts, "eye_r")
    expression = []
    for name in bundled.expression_names:
        moved = np.sum([shape(file) for file in EXPRESSIONS[name]] or [0 * neutral], axis=0)
        moved[np.concatenate(eyes)] = 0.0  # the gaze turns them
        expression.append(moved)
    first = np.full(len(neutral), len(corners.point))
    np.minimum.at(first, corners.point, np.arange(len(corners.point)))
    used = np.concatenate([_point_parts(parts, name) for name in _FACE])
    landmarks, numbers = _read_landmarks(folder, first, len(corners.point))
    of_eye = lambda eye: np.flatnonzero(np.isin(corners.point, eye)).astype(np.int32)
    return HeadModel(
        template=(neutral * world[0] + world[1])[corners.point].astype(np.float32),
        identity=at_vertices([shape(f"identity{i:03d}") for i in range(identities)]),
        expression=at_vertices(expression),
        expression_names=bundled.expression_names,
        triangles=corners.triangles,
        uv=corners.uv,
        weld=first[corners.point].astype(np.int32),
        triangle_part=corners.part,
        part_names=tuple(part.name for part in parts),
        face_mask=np.isin(corners.point, used).astype(np.float32),
        head_mask=np.ones(len(corners.point), np.float32),
        eye_left=of_eye(eyes[0]),
        eye_right=of_eye(eyes[1]),
        landmark_index=numbers,
        landmark_vertices=np.repeat(landmarks[:, None], 3, 1),
        landmark_weights=np.tile(np.eye(1, 3, dtype=np.float32), (len(landmarks), 1)),
    )


def _find(folder: Path) -> Path:
    for place in (folder / "FaceXModel", folder):
        if (place / f"{NEUTRAL}.obj").is_file():
            return place
    raise UserError(
        f"{folder} holds no FaceXModel/{NEUTRAL}.obj; give the folder of an ICT-FaceKit checkout."
    )


def _read_points(path: Path, count: int) -> tuple[Float[np.ndarray, "n 3"], int]:
    """The points of an OBJ file, and how many faces it has.

    A checkout has 154 such files, of which one's faces are needed: this is the faster way.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}, which an ICT-FaceKit checkout has.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    rows = [line.split()[1:4] for line in lines if line.startswith(b"v ")]
    try:
        points = np.array(rows, np.bytes_).astype(np.float64)
    except ValueError:
        points = np.zeros((0, 0))
    if points.shape != (count, 3) or not np.isfinite(points).all():
        raise UserError(
            f"{path} has {len(rows)} vertices; expected {count} of three numbers: it is damaged, "
            "or of another version of ICT-FaceKit."
        )
    return points, sum(line.startswith(b"f ") for line in lines)


def _read_shape(path: Path, neutral: np.ndarray, faces: int) -> Float[np.ndarray, "n 3"]:
    """Displacements from the neutral mesh."""
    points, found = _read_points(path, len(neutral))
    if found != faces:
        raise UserError(
            f"{path} has {found} faces and {NEUTRAL}.obj {faces}: one of them is cut short; "
            "copy the checkout again."
        )
    return points - neutral


def _split_corners(path: Path, parts: tuple[Part, ...]) -> Corners:
    """The kept triangles; a polygon belongs to the last part that one of its points is of."""
    read = obj_file.read_obj(path)
    fan = lambda corner: [(corner[0], *corner[i : i + 2]) for i in range(1, len(corner) - 1)]
    corners = np.array([triangle for polygon in read.polygons for triangle in fan(polygon)])
    most = parts[-1].end, len(read.uvs)
    if not len(corners) or corners.min() < 0 or (corners.max((0, 1)) >= most).any():
        raise UserError(f"{path} is damaged: its faces do not name vertices and UVs that it has.")
    ends = np.array([part.end for part in parts])
    part = np.searchsorted(ends, corners[..., 0], side="right").max(1)
    kept = np.array([part.slot is not None for part in parts])[part]
    corners, part = corners[kept], part[kept]
    key = np.concatenate([corners.reshape(-1, 2), np.repeat(part, 3)[:, None]], 1)
    pairs, inverse = np.unique(key, axis=0, return_inverse=True)
    placed = _lay_out(read.uvs[pairs[:, 1]], pairs[:, 2], parts)
    triangles = inverse.reshape(-1, 3).astype(np.int32)
    return Corners(pairs[:, 0], placed, triangles, part.astype(np.int8))


def _lay_out(uv: np.ndarray, owner: np.ndarray, parts: tuple[Part, ...]) -> np.ndarray:
    """Fits every part into its slot, since the parts' own textures overlap."""
    placed = np.zeros(uv.shape, np.float32)
    for number in np.unique(owner):
        chosen = owner == number
        low, high = uv[chosen].min(0), uv[chosen].max(0)
        slot = np.array(parts[number].slot).reshape(2, 2)
        share = (uv[chosen] - low) / np.where(high > low, high - low, 1.0)
        placed[chosen] = slot[0] + share * (slot[1] - slot[0])
    return placed


def _point_parts(parts: tuple[Part, ...], name: str) -> Int[np.ndarray, " n"]:
    """The points of the part called `name`."""
    number = [part.name for part in parts].index(name)
    return np.arange(parts[number - 1].end if number else 0, parts[number].end)


def _placement(neutral, parts, bundled: HeadModel, path: Path) -> tuple[float, np.ndarray]:
    """Scale and shift that put the eyes where the bundled head has them."""
    here = np.stack([neutral[_point_parts(parts, eye)].mean(0) for eye in ("eye_l", "eye_r")])
    if here[0, 0] <= here[1, 0]:
        raise UserError(
            f"{path}: the left eyeball is at x = {here[0, 0]:g} and the right one at "
            f"{here[1, 0]:g}; expected the left one at the larger x, y up and z ahead."
        )
    there = [
        eye_centre(bundled, bundled.template, e) for e in (bundled.eye_left, bundled.eye_right)
    ]
    there = np.concatenate([np.asarray(centre) for centre in there])
    scale = np.linalg.norm(there[0] - there[1]) / np.linalg.norm(here[0] - here[1])
    return float(scale), there.mean(0) - scale * here.mean(0)


def _read_landmarks(folder: Path, first: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the listed landmarks, and MediaPipe's numbers; empty where none are listed."""
    path = folder / "vertex_indices.json"
    if not path.is_file():
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get("idx_to_landmark_verts")
        points = np.array(listed if listed is not None else [], np.int64)
        if points.shape not in ((0,), (68,)) or (points < 0).any() or (points >= len(first)).any():
            raise ValueError(f"{points.shape} landmarks")
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise UserError(
            f"{path} is damaged: expected idx_to_landmark_verts with 68 numbers of vertices "
            f"below {len(first)} ({error})."
        ) from error
    vertices = first[points[17:]]
    kept = vertices < count  # of parts that are kept
    numbers = np.array(_MEDIAPIPE)[: len(vertices)]
    return vertices[kept].astype(np.int32), numbers[kept].astype(np.int32)
