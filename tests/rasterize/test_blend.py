import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.rasterize import blend
from invertavatar_jax.rasterize.draw import draw, draw_matrix

FILL = jax.jit(blend.fill_mouth)
WHOLE = (0, 256, 0, 256)


def fill_by_walking(mask):
    """Holes of one mask, found by visiting neighbours."""
    height, width = mask.shape
    seen, queue = set(), [(0, 0)] if not mask[0, 0] else []
    while queue:
        i, j = queue.pop()
        if (i, j) in seen or not (0 <= i < height and 0 <= j < width) or mask[i, j]:
            continue
        seen.add((i, j))
        queue += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
    reached = np.zeros_like(mask)
    for place in seen:
        reached[place] = 1
    return (1 - mask) * (1 - reached)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (2, 9, 7), elements=st.sampled_from([0.0, 0.0, 1.0])))
def test_holes_equal_those_found_by_walking(masks):
    got = np.asarray(FILL(masks[..., None]))[..., 0]
    np.testing.assert_array_equal(got, [fill_by_walking(mask) for mask in masks])


def test_a_winding_corridor_is_followed_to_its_end():
    mask = np.zeros((33, 20), np.float32)
    mask[1::2] = 1
    mask[1::4, -1] = mask[3::4, 0] = 0
    assert not np.any(FILL(mask[None, ..., None]))
    mask[29, -1] = 1  # a wall before the last turns
    holes = FILL(mask[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(holes, fill_by_walking(mask))
    assert holes[30:].sum() == 41


def test_filling_maps_over_a_further_axis():
    masks = (np.random.default_rng(0).uniform(size=(3, 2, 12, 12, 1)) < 0.4).astype(np.float32)
    mapped = jax.vmap(blend.fill_mouth)(jnp.asarray(masks))
    np.testing.assert_array_equal(mapped, [FILL(mask) for mask in masks])


def test_windows_round_halves_to_even():
    released = (57, 185, 64, 192)
    assert blend.scale_window(released, 128) == (28, 92, 32, 96)
    assert blend.scale_window(released, 64) == (14, 46, 16, 48)
    assert blend.scale_window(released, 32) == (7, 23, 8, 24)


def scene(mask_value, channels=3, side=16):
    generator = np.random.default_rng(0)
    texture = jnp.asarray(generator.normal(size=(1, side, side, channels)), jnp.float32)
    static = jnp.asarray(generator.normal(size=(1, side, side, 3 * channels)), jnp.float32)
    centres = (np.arange(2 * side) + 0.5) / side - 1
    u, v = np.meshgrid(centres, centres)
    raster = np.stack([u, v, np.full_like(u, mask_value)], -1)[None]
    return texture, static, jnp.asarray(raster, jnp.float32)


@pytest.mark.parametrize(("side", "raster"), [(2, 7), (4, 16), (8, 20), (9, 9)])
def test_drawing_by_matrix_equals_sampling_and_shrinking(side, raster):
    generator = np.random.default_rng(0)
    texture = jnp.asarray(generator.normal(size=(2, side, side, 3)), jnp.float32)
    grid = jnp.asarray(generator.uniform(-1.5, 1.5, (2, raster, raster, 2)), jnp.float32)
    expected = resize_antialias(grid_sample(texture, grid), (side, side))
    np.testing.assert_allclose(draw([texture], grid)[0], expected, atol=2e-6)


def test_a_drawing_inside_the_texture_keeps_the_sum_of_weights():
    grid = jnp.asarray(np.random.default_rng(1).uniform(-0.8, 0.8, (1, 16, 16, 2)), jnp.float32)
    np.testing.assert_allclose(draw_matrix(grid, 8).sum(-1), 1.0, atol=1e-6)


def test_without_a_mesh_the_static_plane_shows():
    texture, static, raster = scene(0.0)
    composed = blend.compose([texture], [static], raster, WHOLE, 87)
    np.testing.assert_allclose(composed.conditions[0][..., :3], static[..., :3], atol=1e-6)
    assert not np.any(composed.conditions[0][..., 3]) and not np.any(composed.full_alpha)


def test_a_mesh_that_maps_uv_onto_itself_shows_the_texture():
    texture, static, raster = scene(1.0)
    # sampled at twice its size and shrunk again: compare where the texture is linear
    linear = jnp.broadcast_to(jnp.linspace(0, 1, 16)[None, :, None, None], texture.shape)
    composed = blend.compose([linear], [static], raster, WHOLE, 87)
    inner = (0, slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(composed.conditions[0][inner][..., :3], linear[inner], atol=1e-5)
    assert np.all(composed.conditions[0][..., 3] > 1 - 1e-6)


def test_holes_count_as_face_and_only_the_upper_ones_in_the_conditions():
    texture, static, raster = scene(1.0)
    mask = np.zeros((32, 32), np.float32)
    mask[2:30, 2:30] = 1
    mask[5:9, 10:20] = 0  # below mouth_row: 87 / 256 of 32 is row 11
    mask[18:24, 10:20] = 0
    raster = raster.at[0, ..., 2].set(mask)
    composed = blend.compose([texture], [static], raster, WHOLE, 87)
    assert composed.full_alpha[0, 2:30, 2:30].min() == 1
    assert composed.mouth_mask.sum() == 100
    condition = composed.conditions[0][0]
    assert condition[10, 7, 3] == 1 and condition[3, 7, 3] < 0.5
    # what the alpha lies over is static in both holes
    np.testing.assert_allclose(condition[10, 7, :3], static[0, 10, 7, :3], atol=1e-6)


def test_the_face_is_pasted_into_its_window_of_the_frontal_plane():
    _, static, _ = scene(1.0)
    planes = static.reshape(1, 16, 16, 3, 3).transpose(0, 3, 1, 2, 4)
    window = (64, 192, 32, 160)  # of 256: rows 4 to 12, columns 2 to 10 of 16
    half = jnp.full((1, 32, 32, 1), 0.5)
    pasted = blend.paste_face(jnp.full((1, 8, 8, 3), 7.0), half, static, window)
    np.testing.assert_array_equal(pasted[:, 1:], planes[:, 1:])
    inside = np.zeros((16, 16), bool)
    inside[4:12, 2:10] = True
    np.testing.assert_array_equal(pasted[0, 0][~inside], planes[0, 0][~inside])
    expected = 3.5 + 0.5 * planes[0, 0][inside]
    np.testing.assert_allclose(pasted[0, 0][inside], expected, atol=1e-6)


def test_gradients_reach_textures_static_planes_and_the_face():
    texture, static, raster = scene(1.0)
    raster = raster.at[0, 8:16, 8:16, 2].set(0.0)

    def total(texture, static, face):
        composed = blend.compose([texture], [static], raster, WHOLE, 87)
        pasted = blend.paste_face(face, composed.full_alpha, static, (57, 185, 64, 192))
        return (composed.conditions[0] ** 2).sum() + (pasted**2).sum()

    for grad in jax.grad(total, (0, 1, 2))(texture, static, texture):
        assert np.isfinite(grad).all() and np.any(grad)


def test_a_static_map_of_another_width_is_refused():
    texture, static, raster = scene(1.0)
    with pytest.raises(ValueError, match="got a static map of 8 channels for a texture of 3"):
        blend.compose([texture], [static[..., :8]], raster, WHOLE, 87)
