"""Cameras: poses that look at a point, fields of view, and other programs' conventions.

Own convention: `world_from_camera`, the camera's x to the right, y down, z forward (OpenCV's
axes). World: x to the head's left, y up, z out of the face. Intrinsics are in units of the
image side. Rotations are float32 and orthonormal.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.types import Camera

FOCAL = 4.2647  # EG3D's, in image sides; SPEC section 1
RADIUS = 2.7  # EG3D's distance of the camera from the origin
UP = np.array([0.0, 1.0, 0.0])

Matrix4 = Float[np.ndarray, "*batch 4 4"]
Matrix3 = Float[np.ndarray, "*batch 3 3"]


def intrinsics(focal: float = FOCAL) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a square image with the principal point in its centre."""
    return np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], np.float32)


def intrinsics_of_view(angle_deg: float) -> Float[np.ndarray, "3 3"]:
    """Intrinsics for an angle of view across the image's diagonal, in degrees.

    Source: EG3D, camera_utils.py::FOV_to_intrinsics, whose sqrt(2) is 1.414 and whose pi is
        3.14159; the figures agree to four digits with the exact ones.
    """
    return intrinsics(1.0 / (np.tan(angle_deg * 3.14159 / 360.0) * 1.414))


def look_at(
    position: Float[np.ndarray, "*batch 3"], target: Float[np.ndarray, "*batch 3"]
) -> Matrix4:
    """world_from_camera of a camera at `position` that looks at `target`, head up.

    Raises: ValueError where it would look straight up or down, or at itself.
    """
    position, target = np.broadcast_arrays(np.asarray(position, float), np.asarray(target, float))
    forward = _unit(target - position)
    right = _unit(np.cross(forward, UP))
    down = np.cross(forward, right)
    pose = np.zeros((*position.shape[:-1], 4, 4), np.float32)
    pose[..., :3, :3] = np.stack((right, down, forward), axis=-1)
    pose[..., :3, 3] = position
    pose[..., 3, 3] = 1.0
    return pose


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    if np.any(length < 1e-9):
        raise ValueError("a camera cannot look at its own position or along the vertical axis")
    return vector / length


def orbit(
    yaw_rad: Float[np.ndarray, "*batch"] | float,
    pitch_rad: Float[np.ndarray, "*batch"] | float,
    radius: float = RADIUS,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Matrix4:
    """world_from_camera of cameras on a sphere around the origin.

    Args:
        yaw_rad: 0 is in front of the face; positive is on the head's left.
        pitch_rad: 0 is level; positive is above.

    Source: EG3D, camera_utils.py::LookAtPoseSampler, whose angles are h = pi/2 + yaw and
        v = pi/2 - pitch, with v made uniform in its cosine: see `eg3d_orbit`.
    """
    yaw, pitch = np.broadcast_arrays(np.asarray(yaw_rad, float), np.asarray(pitch_rad, float))
    level = np.cos(pitch)
    position = np.stack((np.sin(yaw) * level, np.sin(pitch), np.cos(yaw) * level), axis=-1)
    return look_at(radius * position, np.asarray(target, float))


def eg3d_orbit(
    horizontal: float, vertical: float, target: tuple[float, float, float], radius: float
) -> Matrix4:
    """`orbit` in EG3D's parameters; `vertical` / pi is uniform in the height on the sphere."""
    polar = np.arccos(1.0 - 2.0 * np.clip(vertical / np.pi, 1e-5, 1.0 - 1e-5))
    return orbit(horizontal - np.pi / 2, np.pi / 2 - polar, radius, target)


def orbit_angles(world_from_camera: Matrix4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaw (rad), pitch (rad) and distance of cameras' positions; the inverse of `orbit`."""
    position = np.asarray(world_from_camera, float)[..., :3, 3]
    radius = np.linalg.norm(position, axis=-1)
    yaw = np.arctan2(position[..., 0], position[..., 2])
    height = position[..., 1] / np.where(radius > 0, radius, 1.0)
    return yaw, np.arcsin(np.clip(height, -1.0, 1.0)), radius


def invert(pose: Matrix4) -> Matrix4:
    """The inverse of a rotation and translation."""
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    result = np.zeros_like(pose)
    result[..., :3, :3] = turned
    result[..., :3, 3] = -(turned @ pose[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def project(
    camera: Camera, points: Float[np.ndarray, "*batch n 3"]
) -> tuple[Float[np.ndarray, "*batch n 2"], Float[np.ndarray, "*batch n"]]:
    """Image coordinates in units of the image side, x right and y down, and depth."""
    camera_from_world = invert(np.asarray(camera.world_from_camera))
    turned = points @ np.swapaxes(camera_from_world[..., :3, :3], -1, -2)
    seen = turned + camera_from_world[..., None, :3, 3]
    scaled = seen @ np.swapaxes(np.asarray(camera.intrinsics), -1, -2)
    return scaled[..., :2] / scaled[..., 2:], seen[..., 2]


def to_vector(camera: Camera) -> Float[np.ndarray, "*batch 25"]:
    """EG3D's 25 numbers: the pose's 16 row by row, then the intrinsics' 9."""
    pose, matrix = np.asarray(camera.world_from_camera), np.asarray(camera.intrinsics)
    flat = (pose.reshape(*pose.shape[:-2], 16), matrix.reshape(*matrix.shape[:-2], 9))
    return np.concatenate(flat, axis=-1)


def from_vector(vector: Float[Array, "*batch 25"] | Float[np.ndarray, "*batch 25"]) -> Camera:
    """The inverse of `to_vector`, of NumPy's arrays or JAX's."""
    if vector.shape[-1] != 25:
        raise ValueError(f"a camera is 25 numbers (16 pose, 9 intrinsics), got {vector.shape[-1]}")
    lead = vector.shape[:-1]
    return Camera(vector[..., :16].reshape(*lead, 4, 4), vector[..., 16:].reshape(*lead, 3, 3))


class OpenCVCamera(NamedTuple):
    """OpenCV: camera_from_world, x right, y down, z forward; intrinsics in pixels.

    The centre of the top left pixel is (0, 0), as cv2 counts.
    """

    rotation: Matrix3
    translation: Float[np.ndarray, "*batch 3"]
    matrix_px: Matrix3


class PyTorch3DCamera(NamedTuple):
    """PyTorch3D's PerspectiveCameras: row vectors, x_camera = x_world @ rotation + translation.

    Camera axes: x left, y up, z forward. Focal length and principal point in NDC (in_ndc=True).
    """

    rotation: Matrix3
    translation: Float[np.ndarray, "*batch 3"]
    focal_ndc: Float[np.ndarray, "*batch 2"]
    centre_ndc: Float[np.ndarray, "*batch 2"]


FLIP_YZ = np.diag(np.array([1, -1, -1], np.float32))  # OpenCV's camera axes to OpenGL's
FLIP_XY = np.diag(np.array([-1, -1, 1], np.float32))  # OpenCV's camera axes to PyTorch3D's
# Blender's world has z up and y away from the viewer: (x, y, z) here is (x, -z, y) there.
BLENDER_FROM_WORLD = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)


def to_opencv(camera: Camera, size_px: int) -> OpenCVCamera:
    """Our camera as OpenCV's, for a square image of `size_px`."""
    pose = invert(np.asarray(camera.world_from_camera, np.float32))
    matrix = np.array(camera.intrinsics, np.float32)
    matrix[..., :2, :] *= size_px
    matrix[..., :2, 2] -= 0.5
    return OpenCVCamera(pose[..., :3, :3], pose[..., :3, 3], matrix)


def from_opencv(other: OpenCVCamera, size_px: int) -> Camera:
    """The inverse of `to_opencv`."""
    pose = _assemble(other.rotation, other.translation)
    matrix = np.array(other.matrix_px, np.float32)
    matrix[..., :2, 2] += 0.5
    matrix[..., :2, :] /= size_px
    return Camera(invert(pose), matrix)


def to_opengl(camera: Camera) -> tuple[Matrix4, Matrix3]:
    """World from an OpenGL eye (x right, y up, z backward), and the intrinsics unchanged."""
    pose = np.array(camera.world_from_camera, np.float32)
    pose[..., :3, :3] = pose[..., :3, :3] @ FLIP_YZ
    return pose, np.asarray(camera.intrinsics)


def from_opengl(world_from_eye: Matrix4, matrix: Matrix3) -> Camera:
    """The inverse of `to_opengl`."""
    return Camera(*to_opengl(Camera(world_from_eye, matrix)))


def to_blender(camera: Camera, sensor_mm: float = 36.0) -> tuple[Matrix4, np.ndarray]:
    """Blender's matrix_world (z up) and focal lengths in mm; the principal point is centred."""
    pose, matrix = to_opengl(camera)
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = BLENDER_FROM_WORLD
    return turn @ pose, np.asarray(matrix[..., 0, 0] * sensor_mm)


def from_blender(matrix_world: Matrix4, lens_mm: np.ndarray, sensor_mm: float = 36.0) -> Camera:
    """The inverse of `to_blender`."""
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = BLENDER_FROM_WORLD.T
    lens = np.asarray(lens_mm, np.float32) / np.float32(sensor_mm)
    matrix = np.broadcast_to(intrinsics(1.0), (*lens.shape, 3, 3)).copy()
    matrix[..., 0, 0] = matrix[..., 1, 1] = lens
    return from_opengl(turn @ np.asarray(matrix_world, np.float32), matrix)


def to_pytorch3d(camera: Camera) -> PyTorch3DCamera:
    """Our camera as PyTorch3D's, in NDC of a square image."""
    pose = invert(np.asarray(camera.world_from_camera, np.float32))
    matrix = np.asarray(camera.intrinsics, np.float32)
    rotation = np.swapaxes(FLIP_XY @ pose[..., :3, :3], -1, -2)
    translation = pose[..., :3, 3] @ FLIP_XY
    focal = 2.0 * np.stack((matrix[..., 0, 0], matrix[..., 1, 1]), axis=-1)
    return PyTorch3DCamera(rotation, translation, focal, 1.0 - 2.0 * matrix[..., :2, 2])


def from_pytorch3d(other: PyTorch3DCamera) -> Camera:
    """The inverse of `to_pytorch3d`."""
    rotation = FLIP_XY @ np.swapaxes(np.asarray(other.rotation, np.float32), -1, -2)
    pose = _assemble(rotation, np.asarray(other.translation, np.float32) @ FLIP_XY)
    focal, centre = np.asarray(other.focal_ndc), np.asarray(other.centre_ndc)
    matrix = np.broadcast_to(intrinsics(1.0), (*focal.shape[:-1], 3, 3)).copy()
    matrix[..., 0, 0], matrix[..., 1, 1] = focal[..., 0] / 2, focal[..., 1] / 2
    matrix[..., :2, 2] = (1.0 - centre) / 2.0
    return Camera(invert(pose), matrix)


def _assemble(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.zeros((*rotation.shape[:-2], 4, 4), np.float32)
    pose[..., :3, :3], pose[..., :3, 3], pose[..., 3, 3] = rotation, translation, 1.0
    return pose
