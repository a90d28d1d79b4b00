"""Heads on the frontal plane and seen by a camera: where things land, and what hides what."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.rasterize import api, views
from invertavatar_jax.types import Camera


class Sheet(NamedTuple):
    """A head model's drawn fields."""

    triangles: np.ndarray
    uv: np.ndarray
    face_mask: np.ndarray
    head_mask: np.ndarray


def sheet(z=0.0, half=0.45, count=8, turn=1):
    """A square facing +z (turn 1) whose u, v are its own world x, y plus .5."""
    line = np.linspace(-half, half, count)
    x, y = np.meshgrid(line, line)
    vertices = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3).astype(np.float32)
    n = np.arange(count * count).reshape(count, count)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    ones = np.ones(len(vertices), np.float32)
    return Sheet(triangles[:, ::turn], vertices[:, :2] + 0.5, ones, ones), vertices


def join(*parts):
    heads, vertices = zip(*parts, strict=True)
    start = np.cumsum([0, *map(len, vertices)])
    triangles = [head.triangles + first for head, first in zip(heads, start, strict=False)]
    rest = [np.concatenate(values) for values in list(zip(*heads, strict=True))[1:]]
    return Sheet(np.concatenate(triangles), *rest), np.concatenate(vertices)


@pytest.mark.parametrize(
    ("released", "window", "box_warp"),
    [
        (True, (57, 185, 64, 192), 1.0),
        (False, (40, 200, 48, 208), 0.8),
        (False, views.WHOLE_BOX, 1.0),
    ],
)
def test_a_plane_pixel_shows_what_lies_at_its_plane_coordinate(released, window, box_warp):
    head, vertices = sheet(z=0.125)
    image = np.asarray(
        views.canonical_raster(
            head,
            vertices,
            48,
            window,
            box_warp=box_warp,
            depth=True,
            released_edges=released,
        )
    )
    top, bottom, left, right = window
    middle = (np.arange(48) + 0.5) / 48
    at = lambda low, high: ((low + middle * (high - low)) / 128 - 1) * box_warp / 2  # world
    y, x = np.meshgrid(at(top, bottom), at(left, right), indexing="ij")  # row grows with +y
    inside = np.maximum(np.abs(x), np.abs(y)) < 0.449
    drawn = image[..., 2] == 1
    assert inside.sum() > 1000 and np.all(drawn[inside])
    np.testing.assert_array_equal(drawn, np.maximum(np.abs(x), np.abs(y)) <= 0.45)
    np.testing.assert_allclose(image[inside][:, 0], 2 * x[inside], atol=1e-5)
    np.testing.assert_allclose(image[inside][:, 1], 2 * y[inside], atol=1e-5)
    np.testing.assert_allclose(image[inside][:, 3], 0.125, atol=1e-6)
    assert np.all(image[~drawn] == 0)


def test_the_largest_z_hides_what_is_behind():
    for order in (1, -1):
        parts = [sheet(z=-0.2, half=0.4), sheet(z=0.2, half=0.2)]
        head, vertices = join(*parts[::order])
        image = np.asarray(views.canonical_raster(head, vertices, 32, views.WHOLE_BOX, depth=True))
        middle = np.abs((np.arange(32) + 0.5) / 32 - 0.5) < 0.2
        np.testing.assert_allclose(image[np.ix_(middle, middle)][..., 3], 0.2, atol=1e-6)
        assert np.sum(image[..., 3] == np.float32(-0.2)) > 50


def test_the_back_is_drawn_as_released_only():
    head, vertices = sheet(turn=-1)
    draw = lambda released: np.asarray(
        views.canonical_raster(head, vertices, 16, released_edges=released)
    )
    assert np.all(draw(False) == 0)
    assert np.all(draw(True)[..., 2] == 1)


def test_u_and_v_shrink_at_the_mask_as_released_only():
    head, vertices = sheet()
    weight = (vertices[:, 0] < 0).astype(np.float32)  # falls from 1 to 0 across one cell
    head = head._replace(face_mask=weight)
    draw = lambda released: np.asarray(
        views.canonical_raster(head, vertices, 256, views.WHOLE_BOX, released_edges=released)
    )[128]
    world = (np.arange(256) + 0.5) / 256 - 0.5
    line = np.linspace(-0.45, 0.45, 8)
    interpolated = np.interp(world, line, (line < 0).astype(float))
    interpolated[np.abs(world) > 0.45] = 0
    exact, released = draw(False), draw(True)
    np.testing.assert_array_equal(exact[:, 2], interpolated >= 0.5)
    np.testing.assert_array_equal(released[:, 2], interpolated**2 >= 0.5)
    on = released[:, 2] == 1
    np.testing.assert_allclose(exact[on, 0], 2 * world[on], atol=1e-5)
    np.testing.assert_allclose(released[on, 0], (2 * world * interpolated)[on], atol=1e-5)
    assert np.abs(released[on, 0] - exact[on, 0]).max() > 0.01


def test_the_two_masks_are_told_apart():
    head, vertices = sheet()
    head = head._replace(face_mask=np.zeros_like(head.face_mask))
    assert np.all(np.asarray(views.canonical_raster(head, vertices, 8)) == 0)
    assert np.all(np.asarray(views.canonical_raster(head, vertices, 8, mask="head"))[..., 2] == 1)
    with pytest.raises(ValueError, match="mask is 'hair'"):
        views.canonical_raster(head, vertices, 8, mask="hair")


def frontal(yaw=0.0, pitch=0.0, scale=1.0):
    pose = cameras.orbit(yaw, pitch)
    pose[:3, :3] *= scale
    return Camera(pose, cameras.intrinsics())


@pytest.mark.parametrize("scale", [1.0, 0.2166])
def test_what_the_camera_sees_projects_back_to_its_pixel(scale):
    """Up is up, the head's left is on the right, and perspective is exact."""
    head, vertices = join(sheet(z=0.1, half=0.2), sheet(z=-0.3, half=0.4))
    camera = frontal(0.5, 0.2, scale)
    image, raster = views.camera_raster(head, vertices, camera, 64)
    world = np.asarray(api.interpolate(jnp.asarray(vertices), head.triangles, raster))
    seen = np.asarray(raster.triangle) >= 0
    assert seen.mean() > 0.5
    position, depth = cameras.project(frontal(0.5, 0.2), world[seen])
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(position[:, 0] * 64, columns + 0.5, atol=2e-2)
    np.testing.assert_allclose(position[:, 1] * 64, rows + 0.5, atol=2e-2)
    np.testing.assert_allclose(np.asarray(raster.depth)[seen], depth, atol=1e-4)
    np.testing.assert_allclose(np.asarray(image)[seen][:, :2], 2 * world[seen][:, :2], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image)[..., 2], seen)
    straight = np.asarray(views.camera_raster(head, vertices, frontal(), 64)[0])
    assert straight[8, 32, 1] > 0 > straight[55, 32, 1] and straight[32, 55, 0] > 0


def test_batches_are_drawn_as_one_by_one():
    head, vertices = join(sheet(z=0.1, half=0.2), sheet(z=-0.3, half=0.4))
    two = np.stack([vertices, vertices * 0.9])
    pair = [frontal(0.3), frontal(-0.4, 0.2)]
    both = jax.tree.map(lambda *x: np.stack(x), *pair)
    image, raster = views.camera_raster(head, two, both, 32)
    plane = views.canonical_raster(head, two, 32)
    for i in range(2):
        alone = views.camera_raster(head, two[i], pair[i], 32)
        np.testing.assert_allclose(image[i], alone[0], atol=1e-6)
        np.testing.assert_array_equal(raster.triangle[i], alone[1].triangle)
        np.testing.assert_allclose(plane[i], views.canonical_raster(head, two[i], 32), atol=1e-6)


def test_a_texel_of_the_layout_lies_at_its_own_u_and_v():
    head, _ = sheet()
    layout = views.draw_layout(head, 40)
    uv = np.asarray(api.interpolate(jnp.asarray(head.uv), head.triangles, layout))
    v, u = np.meshgrid((np.arange(40) + 0.5) / 40, (np.arange(40) + 0.5) / 40, indexing="ij")
    hit = np.asarray(layout.triangle) >= 0
    assert hit.mean() > 0.7
    np.testing.assert_allclose(uv[hit], np.stack([u, v], -1)[hit], atol=1e-6)
