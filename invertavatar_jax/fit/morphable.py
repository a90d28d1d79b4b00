"""The head as a mesh that identity, expression and gaze deform. Units and axes: types.py."""

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class HeadModel(NamedTuple):
    """A morphable head; NumPy arrays. Corners share one index: seams hold split vertices."""

    template: Float[np.ndarray, "v 3"]  # world units
    identity: Float[np.ndarray, "k v 3"]  # orthogonal; coefficients have unit variance
    expression: Float[np.ndarray, "e v 3"]  # coefficients in [0, 1]
    expression_names: tuple[str, ...]  # ARKit's
    triangles: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "v 2"]  # in [0, 1]; a texel's row is v * size, row 0 the lowest
    weld: Int[np.ndarray, " v"]  # the first vertex at the same point of the surface
    triangle_part: Int[np.ndarray, " f"]  # index into part_names
    part_names: tuple[str, ...]
    face_mask: Float[np.ndarray, " v"]  # 1 on the front of the face and the eyes
    head_mask: Float[np.ndarray, " v"]  # 1 down to the collar
    eye_left: Int[np.ndarray, " n"]  # the eyeball's vertices; their mean is its centre
    eye_right: Int[np.ndarray, " n"]
    landmark_index: Int[np.ndarray, " l"]  # MediaPipe's number of each landmark
    landmark_vertices: Int[np.ndarray, "l 3"]
    landmark_weights: Float[np.ndarray, "l 3"]
    # Rotation whose columns are an eye's left, up and ahead; None: the world's axes.
    eye_axes: Float[np.ndarray, "3 3"] | None = None
    eye_offset: Float[np.ndarray, "3"] | None = None  # from an eyeball's mean to its pivot
    # The triangles whose normals a vertex averages, as often as listed; -1 is none. None: all
    # that meet at its point, once each.
    normal_triangles: Int[np.ndarray, "v n"] | None = None


def load_head_model(path: str | Path | None = None) -> HeadModel:
    """Reads a head model; the bundled MakeHuman head by default. See NOTICE.

    Raises:
        ValueError: the file is not a head model written by fit/build_head.py.
    """
    source = resources.files("invertavatar_jax") / "assets/head_makehuman.npz"
    with (source if path is None else Path(path)).open("rb") as file, np.load(file) as data:
        missing = {"template", "identity", "step", "point"} - set(data)
        if missing:
            raise ValueError(
                f"{path} is no head model: it lacks {', '.join(sorted(missing))}; "
                "write one with python -m invertavatar_jax.fit.build_head"
            )
        stored = dict(data)
    point = stored["point"].astype(np.int64)
    first = np.full(point.max() + 1, len(point))
    np.minimum.at(first, point, np.arange(len(point)))
    at_vertices = lambda values: np.ascontiguousarray(values[..., point, :], np.float32)
    of_eye = lambda name: np.flatnonzero(np.isin(point, stored[name])).astype(np.int32)
    return HeadModel(
        template=at_vertices(stored["template"]),
        identity=at_vertices(_decode(stored["identity"], stored["step"])),
        expression=at_vertices(_decode(stored["expression"], stored["step"])),
        expression_names=tuple(str(name) for name in stored["expression_names"]),
        triangles=stored["triangles"].astype(np.int32),
        uv=stored["uv"],
        weld=first[point].astype(np.int32),
        triangle_part=stored["triangle_part"],
        part_names=tuple(str(name) for name in stored["part_names"]),
        face_mask=stored["face_points"][point].astype(np.float32),
        head_mask=stored["head_points"][point].astype(np.float32),
        eye_left=of_eye("eye_left_points"),
        eye_right=of_eye("eye_right_points"),
        landmark_index=stored["landmark_index"].astype(np.int32),
        landmark_vertices=stored["landmark_vertices"].astype(np.int32),
        landmark_weights=stored["landmark_weights"].astype(np.float32),
    )


def vertices(
    head: HeadModel,
    identity: Float[Array, "*b k"],
    expression: Float[Array, "*b e"],
    gaze_rad: Float[Array, "*b 4"],
) -> Float[Array, "*b v 3"]:
    """Deforms the template; differentiable in every argument but the head.

    Args:
        identity: any number k of leading components of head.identity.
        gaze_rad: left yaw, left pitch, right yaw, right pitch; yaw turns an eye to the
            head's left (+x), pitch upwards.
    """
    components = identity.shape[-1]
    person = jnp.asarray(head.template) + jnp.einsum(
        "...k,kvc->...vc", identity, head.identity[:components]
    )
    moved = person + jnp.einsum("...e,evc->...vc", expression, head.expression)
    for eye, gaze in ((head.eye_left, gaze_rad[..., :2]), (head.eye_right, gaze_rad[..., 2:])):
        centre = eye_centre(head, person, eye)
        away = moved[..., eye, :] - centre
        turned = jnp.einsum("...ij,...vj->...vi", eye_turn(head, gaze), away) + centre
        moved = moved.at[..., eye, :].set(turned)  # pyright: ignore
    return moved


def eye_centre(
    head: HeadModel, person: Float[Array, "*b v 3"], eye: Int[np.ndarray, " n"]
) -> Float[Array, "*b 1 3"]:
    """What an eyeball turns about.

    Args:
        person: vertices without expression.
        eye: head.eye_left or head.eye_right.
    """
    once = head.weld[eye] == eye  # a split vertex must not pull the centre
    centre = person[..., eye, :][..., once, :].mean(-2, keepdims=True)
    return centre if head.eye_offset is None else centre + head.eye_offset


def eye_turn(head: HeadModel, gaze_rad: Float[Array, "*b 2"]) -> Float[Array, "*b 3 3"]:
    """The rotation of an eyeball, in world axes, for its yaw and pitch."""
    turn = _turn(gaze_rad)
    if head.eye_axes is None:
        return turn
    return jnp.einsum("ij,...jk,lk->...il", head.eye_axes, turn, head.eye_axes)


def normals(head: HeadModel, vertices: Float[Array, "*b v 3"]) -> Float[Array, "*b v 3"]:
    """Averages the triangles' normals around each point, seams closed; unit length.

    A point whose triangles have no area gets +z.
    """
    corner = [vertices[..., head.triangles[:, k], :] for k in range(3)]
    area = jnp.cross(corner[1] - corner[0], corner[2] - corner[0])
    if head.normal_triangles is None:
        points = head.weld[head.triangles]
        total = jnp.zeros_like(vertices)
        for k in range(3):
            total = total.at[..., points[:, k], :].add(area)
        total = total[..., head.weld, :]
    else:
        listed = head.normal_triangles[..., None]
        total = jnp.where(listed >= 0, area[..., head.normal_triangles, :], 0.0).sum(-2)
    square = jnp.square(total).sum(-1, keepdims=True)
    seen = square > 1e-30  # twice an area of 1e-15 square units: nothing is that small
    unit = total * jax.lax.rsqrt(jnp.where(seen, square, 1.0))
    return jnp.where(seen, unit, jnp.array([0.0, 0.0, 1.0], unit.dtype))


def _turn(gaze: Float[Array, "*b 2"]) -> Float[Array, "*b 3 3"]:
    """Rotation that turns +z by yaw towards +x, after turning it by pitch towards +y."""
    (sy, sp), (cy, cp) = (jnp.moveaxis(f(gaze), -1, 0) for f in (jnp.sin, jnp.cos))
    zero = jnp.zeros_like(sy)
    rows = ((cy, -sy * sp, sy * cp), (zero, cp, sp), (-sy, -cy * sp, cy * cp))
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _decode(planes: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Undoes build_head.encode: byte planes of zigzag differences along the points."""
    zigzag = planes[0].astype(np.int32) | (planes[1].astype(np.int32) << 8)
    signed = (zigzag >> 1) ^ -(zigzag & 1)
    return (np.cumsum(signed, axis=-2) * float(step)).astype(np.float32)
