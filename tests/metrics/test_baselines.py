"""What costs no network."""

import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import motion
from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.fit import morphable
from invertavatar_jax.metrics import baselines
from invertavatar_jax.types import Camera, Drive, Frame

SIDE = 48


def frame(rgb, visible) -> Frame:
    nothing = jnp.zeros((1, SIDE, SIDE, 3))
    camera = Camera(jnp.eye(4)[None], jnp.eye(3)[None])
    uv_rgb = jnp.where(visible, jnp.asarray(rgb, jnp.float32), 1.0)
    drive = Drive(camera, nothing)
    return Frame(
        nothing, nothing[..., :1], uv_rgb, nothing[..., :2], visible.astype(jnp.float32), drive
    )


@pytest.fixture
def halves():
    """One frame shows the left of the texture in red, another the right and middle in blue."""
    column = jnp.arange(SIDE)[None, None, :, None] * jnp.ones((1, SIDE, 1, 1))
    red, blue = frame([1.0, -1, -1], column < 32), frame([-1.0, -1, 1], column >= 16)
    return red, blue


def test_the_texture_is_the_mean_of_what_is_seen(halves):
    texture = baselines.texture(halves)[0, 20]
    np.testing.assert_allclose(texture[4], [1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(texture[20], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(texture[40], [-1, -1, 1], atol=1e-6)


def test_unseen_texels_are_filled_from_seen_ones(halves):
    texture = baselines.texture(halves[:1])
    np.testing.assert_allclose(texture[0, 20, 40], [1, -1, -1], atol=1e-3)


def test_the_mean_colour_counts_every_visible_texel(halves):
    np.testing.assert_allclose(baselines.mean_colour(halves), [0, -1, 0], atol=1e-6)


def test_the_mesh_covers_the_head_and_nothing_else(halves):
    head = morphable.load_head_model()
    camera = motion.orbit(Camera(cameras.orbit(0, 0), cameras.intrinsics()), [0.2], [0.1])
    one = Camera(camera.world_from_camera[0], camera.intrinsics[0])
    behind = jnp.zeros((64, 64, 3))
    texture = baselines.texture(halves[:1])
    drawn = baselines.draw_textured_mesh(head, texture, jnp.asarray(head.template), one, behind)
    covered = (np.abs(drawn) > 0.5).any(-1)
    assert 0.15 < covered.mean() < 0.9
    assert covered[32, 32] and not covered[0, 0] and not covered[0, -1]
    np.testing.assert_allclose(drawn[32, 32], [1, -1, -1], atol=2e-2)
