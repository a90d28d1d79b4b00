"""FaceVerse v3.1, the released system's head model, as a HeadModel. SPEC section 7.

The model is its authors' and does not ship with this package: `head_model` takes the arrays of
a user's `faceverse_v3_1.npy`, and the face mask that the released system keeps beside it.

Expression components have no names there and are no ARKit weights: they are called
`faceverse000` to `faceverse170`, and their coefficients may be negative.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.camera import intrinsics
from invertavatar_jax.fit.morphable import HeadModel
from invertavatar_jax.types import Camera

VERTICES, IDENTITY, EXPRESSION = 28_227, 150, 171
EXPRESSION_NAMES = tuple(f"faceverse{i:03d}" for i in range(EXPRESSION))
SLICES = {  # the 610 numbers of a fitted frame, in order
    "identity": slice(0, 150),
    "expression": slice(150, 321),
    "texture": slice(321, 572),
    "angles": slice(572, 575),
    "light": slice(575, 602),
    "translation": slice(602, 605),
    "eyes": slice(605, 609),
    "scale": slice(609, 610),
}
COUNT = 610

_FLIP = np.array([1.0, -1.0, -1.0])  # of raw coordinates, as the released code reads them
_SHRINK, _RAISE = 0.1, np.array([0.0, 1.0, 0.0])
_EYE_DEPTH = 0.005  # from an eyeball's mean to its pivot, in model units along z
# From model units to the released plane's: the matrix `fv2fl_30.npy`, to seven decimals, then
# a shift and a scale. SPEC section 7.
_TURN = np.array(
    [
        [0.0866627, -0.0011097, -0.0001218],
        [-0.0011125, -0.0866316, -0.0023217],
        [-0.0000920, 0.0023230, -0.0866387],
    ]
)
_SHIFT = np.array([-0.0005660, -0.0178858, -0.0589496]) + np.array([0.0, 0.005, 0.0])
_WORLD = 2.5
WORLD_FROM_MODEL = np.block([[_WORLD * _TURN, _WORLD * _SHIFT[:, None]], [np.zeros((1, 3)), 1.0]])
_CAMERA_DISTANCE = 5.0  # model units
# The part of the UV layout that is spread out, and by how much.
_FACE_UV, _SPREAD = ((0.195, 0.273), (0.805, 0.727)), 1.4
# Limits of two driving components, counted from the last.
_DRIVING_LIMITS = {-4: (-0.75, 0.6), -2: (-0.75, 0.75)}


class Coefficients(NamedTuple):
    """One fitted frame or several."""

    identity: Float[np.ndarray, "*b 150"]
    expression: Float[np.ndarray, "*b 171"]
    texture: Float[np.ndarray, "*b 251"]
    angles: Float[np.ndarray, "*b 3"]  # radians about x, y, z, applied in this order
    light: Float[np.ndarray, "*b 27"]
    translation: Float[np.ndarray, "*b 3"]  # model units
    eyes: Float[np.ndarray, "*b 4"]  # radians; one eye's about x, about y; the other's
    scale: Float[np.ndarray, "*b 1"]


def split(packed: Float[np.ndarray, "*b 610"]) -> Coefficients:
    """The 610 numbers by name.

    Raises:
        ValueError: there are not 610.
    """
    if packed.shape[-1] != COUNT:
        raise ValueError(f"a frame has {COUNT} FaceVerse coefficients, got {packed.shape[-1]}")
    return Coefficients(*(packed[..., part] for part in SLICES.values()))


def head_model(
    arrays: Mapping[str, np.ndarray],
    face_mask: np.ndarray,
    *,
    where: str,
    vertices: int = VERTICES,
) -> HeadModel:
    """The head of a model file's arrays: basis vectors in world units.

    Args:
        arrays: of the file: meanshape, idBase, exBase, tri, point_buf, uv_per_ver, ver_inds.
        face_mask: 1 at the vertices of the face's skin; `v31_face_mask_new.npy`.
        where: the file's name, for messages.
        vertices: how many the version has.

    Raises:
        UserError: an array is missing or not of this version's shape.
    """
    read = _Reader(arrays, where, vertices)
    linear = (WORLD_FROM_MODEL[:3, :3] * (_SHRINK * _FLIP)).astype(np.float32)
    moved = WORLD_FROM_MODEL[:3, :3] @ _RAISE + WORLD_FROM_MODEL[:3, 3]
    mean = read.floats("meanshape", (vertices, 3))
    basis = lambda name, count: np.ascontiguousarray(
        np.einsum("ij,vjk->kvi", linear, read.floats(name, (vertices, 3, count)))
    )
    eyes = _eyes(read)
    mask = _mask(face_mask, eyes, where, vertices)
    triangles = read.indices("tri", 3, vertices)
    order = np.argsort(-mask[triangles].mean(1), kind="stable")  # in a shared texel the face wins
    around = read.indices("point_buf", None, len(triangles) + 1)
    eye_left, eye_right = sorted(eyes, key=lambda eye: -mean[eye, 0].mean())
    part = np.zeros(len(triangles), np.int8)
    for number, eye in ((1, eye_left), (2, eye_right)):
        part[np.isin(triangles[order], eye).all(1)] = number
    place = np.argsort(order)
    turn = WORLD_FROM_MODEL[:3, :3] / np.cbrt(np.linalg.det(WORLD_FROM_MODEL[:3, :3]))
    return HeadModel(
        template=(mean @ linear.T + moved).astype(np.float32),
        identity=basis("idBase", IDENTITY),
        expression=basis("exBase", EXPRESSION),
        expression_names=EXPRESSION_NAMES,
        triangles=triangles[order],
        uv=_spread(read.floats("uv_per_ver", (vertices, 2))),
        weld=np.arange(vertices, dtype=np.int32),
        triangle_part=part,
        part_names=("skin", "eye_l", "eye_r"),
        face_mask=mask,
        head_mask=np.ones(vertices, np.float32),
        eye_left=eye_left,
        eye_right=eye_right,
        landmark_index=np.zeros(0, np.int32),
        landmark_vertices=np.zeros((0, 3), np.int32),
        landmark_weights=np.zeros((0, 3), np.float32),
        eye_axes=(turn * _FLIP).astype(np.float32),
        eye_offset=(WORLD_FROM_MODEL[:3, 2] * _EYE_DEPTH).astype(np.float32),
        # the number after the last triangle stands for none
        normal_triangles=np.append(place, -1)[around].astype(np.int32),
    )


def gaze(head: HeadModel, eyes: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 4"]:
    """FaceVerse's eye angles as gaze_rad: left yaw, left pitch, right yaw, right pitch."""
    turned = -np.asarray(eyes)[..., [1, 0, 3, 2]]
    return turned if head.eye_left[0] < head.eye_right[0] else turned[..., [2, 3, 0, 1]]


def camera(fitted: Coefficients) -> Camera:
    """The camera that sees the canonical head as the fitted pose shows it.

    Its 3 x 3 block is a rotation times a scale, as in the released labels. SPEC sections 1, 7.
    """
    turn = np.asarray(fitted.scale, np.float64)[..., None] * _rotation(fitted.angles)
    axes = np.array([-1.0, 1.0, -1.0])  # of the posed head to a camera's: x right, y down
    camera_from_model = np.zeros((*turn.shape[:-2], 4, 4))
    camera_from_model[..., :3, :3] = axes[:, None] * turn
    camera_from_model[..., :3, 3] = axes * fitted.translation + [0, 0, _CAMERA_DISTANCE]
    camera_from_model[..., 3, 3] = 1.0
    pose = WORLD_FROM_MODEL @ np.linalg.inv(camera_from_model)
    matrix = np.broadcast_to(intrinsics(), (*pose.shape[:-2], 3, 3))
    return Camera(pose.astype(np.float32), matrix)


def limit_driving(expression: Float[np.ndarray, "*b 171"]) -> Float[np.ndarray, "*b 171"]:
    """A driver's expression within the limits that the released system sets."""
    limited = np.array(expression)
    for component, (low, high) in _DRIVING_LIMITS.items():
        limited[..., component] = limited[..., component].clip(low, high)
    return limited


def _rotation(angles: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3 3"]:
    """About x, then y, then z."""
    turns = []
    for axis in range(3):
        turn = np.zeros((*angles.shape[:-1], 3, 3))
        sine, cosine = np.sin(angles[..., axis]), np.cos(angles[..., axis])
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[..., axis, axis] = 1.0
        turn[..., i, i] = turn[..., j, j] = cosine
        turn[..., j, i], turn[..., i, j] = sine, -sine
        turns.append(turn)
    return turns[2] @ turns[1] @ turns[0]


def _spread(uv: Float[np.ndarray, "v 2"]) -> Float[np.ndarray, "v 2"]:
    low, high = np.array(_FACE_UV)
    inside = ((uv > low) & (uv < high)).all(-1, keepdims=True)
    return np.where(inside, (uv - 0.5) * _SPREAD + 0.5, uv).astype(np.float32)


def _eyes(read: "_Reader") -> tuple[np.ndarray, np.ndarray]:
    """The vertices of both eyeballs, in the file's order."""
    bounds = np.asarray(read.array("ver_inds")).ravel()
    whole = bounds.dtype.kind in "iu" and len(bounds) >= 3
    if not whole or not 0 <= bounds[0] < bounds[1] < bounds[2] <= read.vertices:
        raise UserError(
            f"{read.where}: ver_inds is {bounds[:3].tolist()}; expected the numbers of vertices at "
            f"which the first eyeball, the second one and the rest begin, up to {read.vertices}."
        )
    span = lambda k: np.arange(bounds[k], bounds[k + 1], dtype=np.int32)
    return span(0), span(1)


def _mask(
    face_mask: np.ndarray, eyes: tuple[np.ndarray, np.ndarray], where: str, vertices: int
) -> Float[np.ndarray, " v"]:
    found = np.ravel(face_mask)
    plain = found.dtype.kind in "fiub" and len(found) == vertices
    if not plain or not np.isin(found, (0, 1)).all():
        raise UserError(
            f"The face mask beside {where} has {len(found)} values of {found.dtype}; expected a 0 "
            f"or 1 for each of {vertices} vertices."
        )
    mask = found.astype(np.float32)
    mask[np.concatenate(eyes)] = 1.0
    return mask


class _Reader(NamedTuple):
    """Takes checked arrays out of the file's."""

    arrays: Mapping[str, np.ndarray]
    where: str
    vertices: int

    def array(self, name: str) -> np.ndarray:
        """The array called `name`."""
        if name not in self.arrays:
            raise UserError(
                f"{self.where} has no array {name!r}; expected the file faceverse_v3_1.npy of "
                "FaceVerse v3.1."
            )
        return np.asarray(self.arrays[name])

    def floats(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Real numbers; leading axes may be stored flat."""
        found = self.array(name)
        flat = (np.prod(shape[:2]), *shape[2:])
        if found.dtype.kind not in "fiu" or found.shape not in (shape, flat):
            self._refuse(name, found, f"real numbers of shape {shape}")
        return found.reshape(shape).astype(np.float32)

    def indices(self, name: str, columns: int | None, limit: int) -> np.ndarray:
        """Whole numbers from 0 up to below `limit`, in rows."""
        found = self.array(name)
        rows = self.vertices if columns is None else len(found) if found.ndim else 0
        whole = found.dtype.kind in "iu" and found.ndim == 2 and len(found) == rows
        if not whole or columns not in (None, found.shape[1]):
            self._refuse(name, found, f"whole numbers in rows of {columns or 'equal length'}")
        if found.size and not (0 <= found.min() and found.max() < limit):
            raise UserError(
                f"{self.where}: {name} holds numbers from {found.min()} to {found.max()}; expected "
                f"0 to {limit - 1}: the file is damaged or of another version."
            )
        return found.astype(np.int32)

    def _refuse(self, name: str, found: np.ndarray, expected: str) -> None:
        raise UserError(
            f"{self.where}: {name} is {found.dtype} of shape {found.shape}; expected {expected}, "
            "as in FaceVerse v3.1."
        )
