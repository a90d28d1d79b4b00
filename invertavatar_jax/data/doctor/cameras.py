"""Checks of a camera's 25 numbers, of both files of labels.

The 3 x 3 block of a released camera is a rotation times a scale (SPEC section 1). Cameras look
along their own +z, with x to the right and y down; the head is at the origin, its y up.
"""

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.fit.camera import FOCAL

Numbers = Float[np.ndarray, " n"]
CONVENTION = "give world_from_camera in OpenCV's axes: x right, y down, z forward"
NEAREST, FARTHEST = 1.2, 8.0  # distance of a camera from the head, world units
OFF_AXIS = 0.35  # world units: crops have the head in their middle
SQUARE = 0.05  # how far axes may be from orthonormal: smoothed cameras are not exact
SAME_VIEW_DEG = 40.0  # between the two cameras of a frame: they were fitted apart


def camera_has_25_numbers(listed: Numbers) -> Problem | None:
    """A label is 16 numbers of a pose and 9 of the intrinsics."""
    if listed.shape != (25,):
        fix = "write pose and intrinsics, row by row"
        return Problem("numbers", "25", f"{listed.size}", fix)
    return None


def camera_is_finite(listed: Numbers) -> Problem | None:
    """No number of a label is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(listed))
    if len(bad):
        fix = "track the frame again or leave it out"
        return Problem(f"number {bad[0]}", "a finite number", f"{listed[bad[0]]}", fix)
    return None


def pose_is_not_transposed(listed: Numbers) -> Problem | None:
    """The translation is the last column, not the last row."""
    pose, _ = _matrices(listed)
    if np.abs(pose[3, :3]).max() > 1e-3 and np.abs(pose[:3, 3]).max() < 1e-3:
        fix = "transpose the pose: it is written row by row"
        return Problem("pose", "the translation in its last column", "it in the last row", fix)
    return None


def matrices_end_as_they_should(listed: Numbers) -> Problem | None:
    """The pose ends with 0 0 0 1, the intrinsics with 0 0 1."""
    pose, matrix = _matrices(listed)
    for field, row, end in (("pose", pose[3], [0, 0, 0, 1]), ("intrinsics", matrix[2], [0, 0, 1])):
        if np.abs(row - end).max() > 1e-3:
            fix = "write whole matrices, row by row, the pose first"
            return Problem(field, f"last row {end}", f"{np.round(row, 3).tolist()}", fix)
    return None


def pose_is_a_rotation(listed: Numbers) -> Problem | None:
    """The 3 x 3 block is a rotation, or one times a scale."""
    axes = _matrices(listed)[0][:3, :3]
    scale = np.cbrt(np.abs(np.linalg.det(axes)))
    off = np.inf if scale < 1e-6 else np.abs(axes @ axes.T / scale**2 - np.eye(3)).max()
    if off > SQUARE:
        found, fix = "axes that are not orthogonal and of one length", "fit the camera again"
        return Problem("pose", "a rotation, up to a scale", found, fix)
    return None


def pose_is_right_handed(listed: Numbers) -> Problem | None:
    """The pose mirrors nothing."""
    if np.linalg.det(_matrices(listed)[0][:3, :3]) < 0:
        found, fix = "a negative one: one axis is flipped or two are swapped", CONVENTION
        return Problem("pose", "a positive determinant", found, fix)
    return None


def camera_looks_at_the_head(listed: Numbers) -> Problem | None:
    """The camera's +z points to the head, as OpenGL's does not."""
    position, axes = _place(listed)
    if axes[:, 2] @ position > 0:
        found = "it points away from the head, as in OpenGL's axes"
        return Problem("pose", "z towards the origin", found, CONVENTION)
    return None


def camera_is_upright(listed: Numbers) -> Problem | None:
    """The camera's +y points to where the head's -y does."""
    _, axes = _place(listed)
    if axes[1, 1] > 0:
        found = "it points up: another convention, or the picture stands on its head"
        return Problem("pose", "y pointing down", found, CONVENTION)
    return None


def camera_is_at_a_heads_distance(listed: Numbers) -> Problem | None:
    """Translations are in units of the tri-plane's box, which is 1 wide."""
    distance = float(np.linalg.norm(_place(listed)[0]))
    if not NEAREST <= distance <= FARTHEST:
        fix = "scale the translation: millimetres or model units are not world units"
        expected = f"{NEAREST:g} to {FARTHEST:g} world units from the head"
        return Problem("pose", expected, f"{distance:.3g}", fix)
    return None


def camera_aims_at_the_head(listed: Numbers) -> Problem | None:
    """The optical axis passes near the origin."""
    position, axes = _place(listed)
    miss = float(np.linalg.norm(position - (position @ axes[:, 2]) * axes[:, 2]))
    if miss > OFF_AXIS:
        fix = f"{CONVENTION}, not its inverse or transpose"
        expected = f"an axis within {OFF_AXIS:g} of the origin"
        return Problem("pose", expected, f"one {miss:.2g} beside it", fix)
    return None


def focal_length_is_the_layouts(listed: Numbers) -> Problem | None:
    """Focal lengths are in image sides; the layout has one."""
    focal = _matrices(listed)[1][(0, 1), (0, 1)]
    if np.abs(focal / FOCAL - 1).max() > 0.01:
        fix = "divide pixels by the image's side" if focal.max() > 50 else "fit cameras with it"
        return Problem("focal length", f"{FOCAL} image sides", _shown(focal), fix)
    return None


def principal_point_is_the_centre(listed: Numbers) -> Problem | None:
    """The principal point is the crop's centre, in image sides."""
    centre = _matrices(listed)[1][:2, 2]
    if np.abs(centre - 0.5).max() > 0.01:
        fix = "divide pixels by the image's side" if centre.max() > 2 else "fit cameras with it"
        return Problem("principal point", "0.5, 0.5 image sides", _shown(centre), fix)
    return None


def intrinsics_have_no_skew(listed: Numbers) -> Problem | None:
    """The intrinsics do not shear."""
    matrix = _matrices(listed)[1]
    skew = np.array([matrix[0, 1], matrix[1, 0]])
    if np.abs(skew).max() > 1e-3:
        return Problem("skew", "0, 0", _shown(skew), "write [f 0 .5, 0 f .5, 0 0 1]")
    return None


def both_cameras_see_the_same(label: Numbers, camera: Numbers) -> Problem | None:
    """The label that conditions and the camera that renders are of one frame."""
    directions = [_place(numbers)[1][:, 2] for numbers in (label, camera)]
    angle = np.degrees(np.arccos(np.clip(directions[0] @ directions[1], -1, 1)))
    if angle > SAME_VIEW_DEG:
        expected = f"a view within {SAME_VIEW_DEG:g} degrees of that in dataset_realcam.json"
        fix = "sort both lists alike, or write the frame's own camera"
        return Problem("pose", expected, f"{angle:.0f} degrees", fix)
    return None


CHECKS = (
    camera_has_25_numbers,
    camera_is_finite,
    pose_is_not_transposed,
    matrices_end_as_they_should,
    pose_is_a_rotation,
    pose_is_right_handed,
    camera_looks_at_the_head,
    camera_is_upright,
    camera_is_at_a_heads_distance,
    camera_aims_at_the_head,
    focal_length_is_the_layouts,
    principal_point_is_the_centre,
    intrinsics_have_no_skew,
    both_cameras_see_the_same,
)


def _matrices(numbers: Numbers) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    return numbers[:16].reshape(4, 4), numbers[16:].reshape(3, 3)


def _place(numbers: Numbers) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """Position and unit axes."""
    pose, _ = _matrices(numbers)
    return pose[:3, 3], pose[:3, :3] / np.linalg.norm(pose[:3, :3], axis=0)


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
