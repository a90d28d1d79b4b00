"""Next3D's views of a mesh: which side is seen where, alpha, and the planes they are laid on."""

from collections import deque
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.rasterize import orthographic

SIDE = 32
PLACES = ((np.arange(SIDE) + 0.5) / SIDE) * 2 - 1  # of pixels in [-1, 1]


class Sheet(NamedTuple):
    """A mesh as orthographic draws it."""

    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    mask: np.ndarray


def sheet(view, distance=0.05, mask=1.0):
    """A square that faces a view; its (u, v) are its own two coordinates along the square.

    Returns the mesh and its vertices. The right-hand side of the square is that of a viewer.
    """
    right, up, out = {
        "front": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "left": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
        "right": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
        "top": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    }[view]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    along = (corners - 0.5) * 0.2
    vertices = along @ np.array([right, up], np.float32) + distance * np.array(out, np.float32)
    triangles = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    return Sheet(
        triangles, corners, triangles, np.full((8, 8, 1), mask, np.float32)
    ), vertices.astype(np.float32)


@pytest.mark.parametrize("number", range(4))
def test_a_square_is_seen_from_the_side_it_faces_and_at_its_place(number):
    mesh, vertices = sheet(orthographic.VIEWS[number])
    raster = np.asarray(orthographic.view_raster(mesh, vertices, SIDE))
    seen = raster[..., 2] > 0
    assert [bool(view.any()) for view in seen] == [view == number for view in range(4)]
    rows, columns = np.nonzero(seen[number])
    u, v = raster[number, rows, columns, :2].T
    # 0.2 metres are one whole view at five times the size; the view is moved by a centimetre
    np.testing.assert_allclose(u, 2 * PLACES[columns], atol=1e-4)
    shift = 5 * orthographic.SHIFT
    np.testing.assert_allclose(-v, 2 * (PLACES[rows] - shift), atol=1e-4)


def test_the_nearest_of_two_squares_is_seen():
    near, near_vertices = sheet("front", 0.08)
    _, far_vertices = sheet("front", 0.02)
    for order in (1, -1):
        vertices = np.concatenate([near_vertices, far_vertices][::order])
        triangles = np.concatenate([near.triangles, near.triangles + 4])
        # the nearer square shows the left half of the texture, the other one the right half
        uv = np.concatenate([near.uv * [0.5, 1], near.uv * [0.5, 1] + [0.5, 0]][::order])
        mesh = Sheet(triangles, uv.astype(np.float32), triangles, near.mask)
        raster = np.asarray(orthographic.view_raster(mesh, vertices, SIDE))[0]
        assert raster[..., 0][raster[..., 2] > 0].max() <= 0


def test_alpha_is_the_mask_softly_and_one_in_holes():
    generator = np.random.default_rng(0)
    alpha = generator.choice([0.0, 0.4, 1.0], (6, 24, 24, 1), p=[0.4, 0.1, 0.5])
    alpha[:, 0, 0] = 0
    filled = np.asarray(orthographic.fill_holes(jnp.asarray(alpha, jnp.float32)))
    for before, after in zip(alpha[..., 0], filled[..., 0], strict=True):
        outside, queue = np.zeros((24, 24), bool), deque([(0, 0)])
        while queue:
            i, j = queue.popleft()
            if 0 <= i < 24 and 0 <= j < 24 and not outside[i, j] and before[i, j] < 1:
                outside[i, j] = True
                queue.extend([(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)])
        np.testing.assert_array_equal(after, np.where(outside, before, 1).astype(np.float32))
    assert (filled == 0.4).any() and (filled != alpha.astype(np.float32)).any()


def test_released_layers_repeat_the_left_views_alpha():
    drawn = jnp.broadcast_to(jnp.array([1.0, 2, 4, 8])[None, :, None, None, None], (1, 4, 2, 2, 1))
    alpha = jnp.array([0.3, 0.2, 0.0, 0.5])[None, :, None, None, None] * jnp.ones((1, 1, 2, 2, 1))
    layers = orthographic.merge_views(drawn, alpha, "released")
    np.testing.assert_allclose(layers.features[0, :, 0, 0, 0], [1, 6, 8])
    np.testing.assert_allclose(layers.alpha[0, :, 0, 0, 0], [0.3, 1, 0.5])
    turned = orthographic.merge_views(drawn, alpha[:, jnp.array([0, 2, 1, 3])], "released")
    assert turned.alpha[0, 1, 0, 0, 0] == 0


@pytest.mark.parametrize(
    ("view", "plane", "axes"),
    [("front", 0, "xy"), ("top", 1, "xz"), ("left", 2, "zy"), ("right", 2, "zy")],
)
def test_aligned_layers_lie_where_their_plane_is_sampled(view, plane, axes):
    mesh, vertices = sheet(view)
    vertices = vertices + np.float32([0.01, 0.02, 0.03])  # not symmetric in any axis
    raster = jnp.asarray(orthographic.view_raster(mesh, vertices, 64, "aligned"))[None]
    positions = 2.5 * (vertices + np.array([0, orthographic.SHIFT, 0]))  # in the tri-planes' world
    layers = orthographic.merge_views(raster[..., :2], raster[..., 2:], "aligned")
    rows, columns = np.nonzero(np.asarray(layers.alpha[0, plane, ..., 0]))
    for pixels, axis in ((columns, axes[0]), (rows, axes[1])):
        extent = 2 * positions[:, "xyz".index(axis)]  # the box's side is 1
        seen = ((pixels + 0.5) / 64) * 2 - 1
        assert abs(seen.min() - extent.min()) < 2 / 64 and abs(seen.max() - extent.max()) < 2 / 64


def test_an_unknown_assignment_of_views_is_refused():
    with pytest.raises(ValueError, match="sideways"):
        orthographic.project_views(jnp.zeros((1, 3)), "sideways")
