"""Photo to UV map: what is pulled is what was painted, and only where it is seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.fit import uv
from invertavatar_jax.rasterize import views
from invertavatar_jax.types import Camera
from tests.rasterize.test_views import Sheet

SIDE = 64
pull = jax.jit(uv.project_to_uv)


def ball(rings=24, sectors=48, radius=0.25):
    """A sphere; u is its longitude (.5 at +z), v its latitude."""
    v, u = np.meshgrid(np.linspace(0.01, 0.99, rings), np.linspace(0, 1, sectors), indexing="ij")
    longitude, latitude = (u - 0.5) * 2 * np.pi, (v - 0.5) * np.pi
    level = np.cos(latitude)
    normals = np.stack(
        [np.sin(longitude) * level, np.sin(latitude), np.cos(longitude) * level], -1
    ).reshape(-1, 3)
    n = np.arange(rings * sectors).reshape(rings, sectors)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    ones = np.ones(len(normals), np.float32)
    head = Sheet(triangles, np.stack([u, v], -1).reshape(-1, 2).astype(np.float32), ones, ones)
    return head, (radius * normals).astype(np.float32), normals.astype(np.float32)


def texels_of(head, mask=None, side=SIDE):
    mask = head.face_mask if mask is None else mask
    return uv.make_texels(head.triangles, mask, views.draw_layout(head, side))


def coordinates(side=SIDE):
    line = 2 * (np.arange(side) + 0.5) / side - 1
    return np.stack(np.meshgrid(line, line), -1)  # u grows with the column, v with the row


def facing(camera):
    """Cosine between each texel's normal and the camera's axis."""
    u, v = np.moveaxis(coordinates(), -1, 0)
    level = np.cos(v * np.pi / 2)
    normal = np.stack([np.sin(u * np.pi) * level, np.sin(v * np.pi / 2), np.cos(u * np.pi) * level])
    return np.einsum("cuv,c->uv", normal, -np.asarray(camera.world_from_camera)[:3, 2])


@pytest.fixture(scope="module")
def scene():
    head, vertices, normals = ball()
    camera = Camera(*map(jnp.asarray, (cameras.orbit(0.4, 0.15), cameras.intrinsics())))
    image, raster = views.camera_raster(head, vertices, camera, 256)
    return head, jnp.asarray(vertices), jnp.asarray(normals), camera, image, raster


def test_a_painted_photo_comes_back_where_it_is_seen(scene):
    """The image shows each point's own (u, v); pulled into the map it is the texel's."""
    head, vertices, normals, camera, image, raster = scene
    maps = pull(texels_of(head), vertices, normals, camera, image, raster.depth)
    seen = np.asarray(maps.visible[..., 0]) == 1
    assert 0.3 < seen.mean() < 0.5
    inner = seen & (facing(camera) > 0.3)  # nearer to the outline, pixels mix with what is behind
    assert inner.sum() > 0.6 * seen.sum()
    painted = np.dstack([coordinates(), np.ones((SIDE, SIDE))])
    error = np.abs(np.asarray(maps.rgb) - painted)[inner]
    assert np.quantile(error, 0.99) < 0.01 and np.median(error) < 1e-3
    assert np.all(np.asarray(maps.rgb)[~seen] == 1)


def test_only_texels_that_turn_to_the_camera_are_visible(scene):
    head, vertices, normals, camera, image, _ = scene
    maps = pull(texels_of(head), vertices, normals, camera, image)
    turned = facing(camera)
    clear = (np.abs(turned - uv.FACING) > 0.02) & (np.abs(coordinates()[..., 1]) < 0.95)
    got = np.asarray(maps.visible[..., 0]) == 1
    np.testing.assert_array_equal(got[clear], (turned > uv.FACING)[clear])


def test_what_another_part_covers_is_hidden_by_the_depth_only(scene):
    head, vertices, normals, camera, image, raster = scene
    near = jnp.where(jnp.arange(256)[None] < 128, 1.0, 0.0) * jnp.ones((256, 1))
    covered = jnp.where(near > 0, near, raster.depth)
    run = lambda depth: pull(texels_of(head), vertices, normals, camera, image, depth)
    free, open_, hidden = run(None), run(raster.depth), run(covered)
    left = np.asarray(free.xy[..., 0]) < 0
    visible = lambda maps: np.asarray(maps.visible[..., 0]) == 1
    assert visible(free)[left].sum() > 100 and not visible(hidden)[left].any()
    np.testing.assert_array_equal(visible(hidden)[~left], visible(open_)[~left])
    assert (visible(free) != visible(open_)).mean() < 0.005  # a ball does not hide itself


def test_the_mask_and_the_image_border_limit_what_is_visible(scene):
    head, vertices, normals, camera, image, _ = scene
    mask = (np.asarray(vertices)[:, 1] > 0).astype(np.float32)
    maps = pull(texels_of(head, mask), vertices, normals, camera, image)
    visible = np.asarray(maps.visible[..., 0]) == 1
    assert visible[SIDE // 2 + 2 :].any() and not visible[: SIDE // 2 - 2].any()
    close = Camera(camera.world_from_camera, jnp.asarray(cameras.intrinsics(12.0)))
    maps = pull(texels_of(head), vertices, normals, close, image)
    visible = np.asarray(maps.visible[..., 0]) == 1
    assert visible.any() and np.abs(np.asarray(maps.xy)[visible]).max() <= 1
    assert visible.mean() < 0.2


def test_what_falls_beside_the_person_is_not_visible(scene):
    head, vertices, normals, camera, image, _ = scene
    matte = jnp.where(jnp.arange(256) < 128, 1.0, 0.0)[None, :, None] * jnp.ones((256, 1, 1))
    free = pull(texels_of(head), vertices, normals, camera, image)
    maps = pull(texels_of(head), vertices, normals, camera, image, matte=matte)
    before, after = (np.asarray(m.visible[..., 0]) == 1 for m in (free, maps))
    left = np.asarray(free.xy[..., 0]) < 0
    np.testing.assert_array_equal(after, before & left)
    assert after.any() and np.all(np.asarray(maps.rgb)[~after] == 1)


def test_a_scale_in_the_camera_changes_nothing(scene):
    head, vertices, normals, camera, image, raster = scene
    pose = camera.world_from_camera.at[:3, :3].multiply(0.2166)
    run = lambda camera: pull(texels_of(head), vertices, normals, camera, image, raster.depth)
    first, second = run(camera), run(Camera(pose, camera.intrinsics))
    np.testing.assert_allclose(first.xy, second.xy, atol=1e-5)
    assert np.mean(np.asarray(first.visible) != np.asarray(second.visible)) < 1e-3


def test_a_batch_is_its_frames_one_by_one(scene):
    head, vertices, normals, camera, image, _ = scene
    texels = texels_of(head, side=32)
    other = Camera(jnp.asarray(cameras.orbit(-0.2, 0.0)), camera.intrinsics)
    stack = lambda *x: jnp.stack(x)
    both = Camera(*map(stack, camera, other))
    batch = pull(
        texels, stack(vertices, vertices), stack(normals, normals), both, stack(image, image)
    )
    for i, one in enumerate((camera, other)):
        alone = pull(texels, vertices, normals, one, image)
        for got, expected in zip(batch, alone, strict=True):
            np.testing.assert_allclose(got[i], expected, atol=1e-4)
