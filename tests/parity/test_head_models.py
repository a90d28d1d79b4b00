"""FaceVerse's geometry against the golden case faceverse_geometry, on its synthetic model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.fit import faceverse, morphable
from invertavatar_jax.ops.project import project
from invertavatar_jax.rasterize import api
from tests.parity.golden import Case, nchw

POINTS = 300
EYES = np.array([200, 230, 260])  # where the case's eyeballs begin and end
MODEL_FROM_WORLD = np.linalg.inv(faceverse.WORLD_FROM_MODEL)
SCALE = np.cbrt(np.linalg.det(faceverse.WORLD_FROM_MODEL[:3, :3]))
TURN = faceverse.WORLD_FROM_MODEL[:3, :3] / SCALE


@pytest.fixture
def case() -> Case:
    return Case("faceverse_geometry")


@pytest.fixture
def fitted(case) -> faceverse.Coefficients:
    return faceverse.split(case.input("coeff"))


@pytest.fixture
def head(case) -> morphable.HeadModel:
    names = ("meanshape", "idBase", "exBase", "tri", "point_buf")
    arrays = {name: case.input(name) for name in names}
    arrays |= {"ver_inds": EYES, "uv_per_ver": np.zeros((POINTS, 2))}
    return faceverse.head_model(arrays, np.zeros(POINTS), where="case", vertices=POINTS)


def to_model(points) -> np.ndarray:
    return np.asarray(points, np.float64) @ MODEL_FROM_WORLD[:3, :3].T + MODEL_FROM_WORLD[:3, 3]


def in_case_order(head, left, right):
    """Left and right are the head's; the case names its first eyeball the left one."""
    return (left, right) if head.eye_left[0] == EYES[0] else (right, left)


def test_every_output_of_the_case_is_reproduced(case, fitted, head):
    gaze = jnp.asarray(faceverse.gaze(head, fitted.eyes))
    person = jnp.asarray(head.template) + jnp.einsum("bk,kvc->bvc", fitted.identity, head.identity)
    eyes = in_case_order(head, (head.eye_left, gaze[:, :2]), (head.eye_right, gaze[:, 2:]))
    for name, (eye, angles) in zip("lr", eyes, strict=True):
        case.check(f"{name}_eye_c", to_model(morphable.eye_centre(head, person, eye)))
        turn = TURN.T @ np.asarray(morphable.eye_turn(head, angles), np.float64) @ TURN
        case.check(f"{name}_eye_R", np.swapaxes(turn, -1, -2))

    world = morphable.vertices(head, fitted.identity, fitted.expression, gaze)
    case.check("vs", to_model(world))
    case.check("ortho_vertices", 2 * world)

    camera = faceverse.camera(fitted)
    position, _ = project(camera, world)
    case.check("proj_ndc", 2 * position - 1)
    # the camera holds the fitted pose: turn and place the head by it
    camera_from_model = np.linalg.inv(camera.world_from_camera) @ faceverse.WORLD_FROM_MODEL
    axes = np.array([-1.0, 1.0, -1.0])
    turn = axes[:, None] * camera_from_model[:, :3, :3] / fitted.scale[..., None]
    case.check("R", np.swapaxes(turn, -1, -2))
    seen = np.einsum("bij,bvj->bvi", camera_from_model[:, :3, :3], to_model(world))
    case.check("vs_posed", (seen + camera_from_model[:, None, :3, 3] - [0, 0, 5]) * axes)

    normals = np.asarray(morphable.normals(head, world), np.float64)
    case.check("normals", np.einsum("bij,bvj->bvi", turn @ TURN.T, normals))

    triangle, weights = case.input("pix_to_face")[..., 0], case.input("bary")[..., 0, :]
    raster = api.Raster(*map(jnp.asarray, (triangle, weights, np.zeros(triangle.shape))))
    values = jnp.concatenate([case.input("attr")[0], jnp.ones((POINTS, 1))], -1)
    case.check("rendered", nchw(api.interpolate(values, case.input("tri"), raster)))
    case.done()


def test_the_matrix_to_the_released_plane_is_the_cases(case):
    matrix = case.input("fv2fl").astype(np.float64)
    place = np.diag([2.5, 2.5, 2.5, 1.0])
    place[1, 3] = 2.5 * 0.005
    np.testing.assert_allclose(place @ matrix, faceverse.WORLD_FROM_MODEL, atol=2.5e-7)


def test_vertices_have_gradients(head, fitted):
    gaze = jnp.zeros((1, 4))
    area = lambda *motion: jnp.square(morphable.vertices(head, *motion)).sum()
    slopes = jax.grad(area, (0, 1, 2))(fitted.identity, fitted.expression, gaze)
    assert all(np.isfinite(slope).all() and np.abs(slope).max() > 0 for slope in slopes)
