"""The head's UV layout for the networks: left-right symmetric, no overlaps, the face enlarged.

MakeHuman's own islands are kept, since they unfold the skin without overlaps: the face with
scalp and ears, the neck, the inside of the mouth, the eye sockets, teeth and tongue. Each is
turned upright, the face is stretched along both axes so that it holds most texels, and the
islands are packed symmetrically about u = 1/2. Eyeballs are unrolled around the iris.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

EYE_REACH_RAD = np.deg2rad(125.0)  # beyond this angle from the iris an eyeball is never seen
# Rectangles (u0, v0, u1, v1) of the square that each island is fitted into.
SLOTS = {
    "face": (0.004, 0.204, 0.996, 0.998),
    "neck": (0.215, 0.004, 0.785, 0.066),
    "inner_mouth": (0.39, 0.102, 0.61, 0.196),
    "eye_l": (0.802, 0.004, 0.996, 0.198),
    "eye_r": (0.004, 0.004, 0.198, 0.198),
    "socket_l": (0.63, 0.104, 0.78, 0.194),
    "socket_r": (0.22, 0.104, 0.37, 0.194),
    "teeth_lo": (0.395, 0.920, 0.605, 0.953),
    "teeth_up": (0.310, 0.962, 0.690, 0.998),
    "tongue": (0.42, 0.070, 0.58, 0.100),
}
# Where fractions of the upright face island go: across (from the midline) and upwards.
FACE_ACROSS = ((0.0, 0.10, 0.25, 0.42, 0.60, 1.0), (0.0, 0.25, 0.57, 0.80, 0.90, 1.0))
FACE_UP = ((0.0, 0.10, 0.24, 0.435, 0.55, 0.75, 1.0), (0.0, 0.13, 0.37, 0.63, 0.75, 0.845, 1.0))


class Mesh(NamedTuple):
    """A mesh whose corners index points and UVs separately, as OBJ files do."""

    points: Float[np.ndarray, "n 3"]
    triangles: Int[np.ndarray, "f 3"]
    uvs: Float[np.ndarray, "m 2"]
    uv_triangles: Int[np.ndarray, "f 3"]


def lay_out(
    mesh: Mesh, island: Int[np.ndarray, " f"], names: list[str], mirror: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "f 3 2"]:
    """Places every island in its slot and returns the UVs of all corners.

    Args:
        island: index into names for each triangle; names are the keys of SLOTS.
        mirror: the point on the other side of the face for each point.
    """
    corner = np.zeros((*mesh.triangles.shape, 2))
    for index, name in enumerate(names):
        chosen = island == index
        points = mesh.points[mesh.triangles[chosen]]
        if name.startswith("eye"):
            flat = _unroll_eyeball(points)
        else:
            flat = _upright(mesh.uvs[mesh.uv_triangles[chosen]], points)
        if name == "face":
            flat = _enlarge_face(flat)
        low, high = np.split(np.array(SLOTS[name]), 2)
        corner[chosen] = low + flat * (high - low)
    return _symmetrise(corner, mesh, mirror)


def outside_eye_reach(points: Float[np.ndarray, "f 3 3"]) -> Bool[np.ndarray, " f"]:
    """Marks an eyeball's triangles that no turn of the eye brings into view."""
    return _iris_angle(points).max(-1) > EYE_REACH_RAD


def _iris_angle(points: np.ndarray) -> np.ndarray:
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    radius = 0.5 * (high[1] - low[1])
    offset = points - np.array([*(0.5 * (low + high))[:2], high[2] - radius])
    return np.arccos(np.clip(offset[..., 2] / np.linalg.norm(offset, axis=-1), -1.0, 1.0))


def _unroll_eyeball(points: np.ndarray) -> np.ndarray:
    """Maps the angle from the iris to a disc's radius; the front gets most of it."""
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    across = points[..., :2] - 0.5 * (low + high)[:2]
    angle = _iris_angle(points)
    radius = np.interp(angle, (0.0, 0.25 * np.pi, 0.5 * np.pi, EYE_REACH_RAD), (0, 0.62, 0.9, 1))
    length = np.linalg.norm(across, axis=-1)
    unit = across / np.where(length > 1e-9, length, 1.0)[..., None]
    return 0.5 + 0.5 * unit * radius[..., None]


def _upright(uvs: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Turns an island so that u grows with x and v with y (or z, where y says nothing)."""
    flat_uv, flat_xyz = uvs.reshape(-1, 2), points.reshape(-1, 3)
    correlation = np.corrcoef(flat_uv.T, flat_xyz.T)[:2, 2:]
    if abs(correlation[1, 0]) > abs(correlation[0, 0]):  # the island lies on its side
        flat_uv, correlation = flat_uv[:, ::-1], correlation[::-1]
    rising = correlation[1, 1] if abs(correlation[1, 1]) > 0.3 else correlation[1, 2]
    flat_uv = flat_uv * np.sign([correlation[0, 0], rising])
    low, high = flat_uv.min(0), flat_uv.max(0)
    return ((flat_uv - low) / (high - low)).reshape(uvs.shape)


def _enlarge_face(flat: np.ndarray) -> np.ndarray:
    across = 2.0 * flat[..., 0] - 1.0
    across = np.sign(across) * _monotone(np.abs(across), *FACE_ACROSS)
    return np.stack([0.5 + 0.5 * across, _monotone(flat[..., 1], *FACE_UP)], -1)


def _monotone(x: np.ndarray, knots: tuple, values: tuple) -> np.ndarray:
    """Interpolates rising values smoothly, without overshoot (Fritsch-Carlson slopes)."""
    knots_, values_ = np.array(knots), np.array(values)
    secant = np.diff(values_) / np.diff(knots_)
    slope = np.concatenate([secant[:1], 2.0 / (1.0 / secant[1:] + 1.0 / secant[:-1]), secant[-1:]])
    cell = np.clip(np.searchsorted(knots_, x, side="right") - 1, 0, len(secant) - 1)
    width = knots_[cell + 1] - knots_[cell]
    s = (x - knots_[cell]) / width
    rise, square, cube = values_[cell + 1] - values_[cell], s * s, s * s * s
    return (
        values_[cell]
        + rise * (3 * square - 2 * cube)
        + width * (slope[cell] * (cube - 2 * square + s) + slope[cell + 1] * (cube - square))
    )


def _symmetrise(corner: np.ndarray, mesh: Mesh, mirror: np.ndarray) -> np.ndarray:
    """Averages each corner's UV with the reflected UV of the mirrored point."""
    key = np.stack([mesh.triangles.ravel(), mesh.uv_triangles.ravel()], -1)
    pairs, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    uv = corner.reshape(-1, 2)[first]
    of_point: dict[int, list[int]] = {}
    for index, point in enumerate(pairs[:, 0]):
        of_point.setdefault(int(point), []).append(index)
    result = np.empty_like(uv)
    for index, (u, v) in enumerate(uv):
        here = np.array([u, v])
        others = uv[of_point[int(mirror[pairs[index, 0]])]] * [-1, 1] + [1, 0]
        nearest = others[np.argmin(np.abs(others - here).sum(-1))]
        result[index] = 0.5 * (nearest + here)
    return result[inverse.ravel()].reshape(corner.shape)
