"""Boxes of the mouth: where they are, and that resizing to and from them is the usual one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.rasterize import mouth

BOXES = [(2, 10, 4, 12), (0, 40, 0, 40), (17, 19, 30, 32), (5, 31, 1, 27)]
CROP = jax.jit(mouth.crop_box, static_argnums=2)
PASTE = jax.jit(mouth.paste_box)


def pictures(side, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((len(BOXES), side, side, 3))
    return jnp.asarray(drawn, jnp.float32)


def test_a_crop_is_the_resized_slice_whatever_the_size_of_the_box():
    image = pictures(40)
    cropped = CROP(image, jnp.array(BOXES), 16)
    for i, (top, bottom, left, right) in enumerate(BOXES):
        expected = resize_antialias(image[i : i + 1, top:bottom, left:right], (16, 16))[0]
        np.testing.assert_allclose(cropped[i], expected, atol=1e-5)


def test_a_paste_overwrites_the_box_with_the_resized_patch_and_nothing_else():
    image, patch = pictures(40), pictures(32, seed=1)
    pasted = PASTE(image, patch, jnp.array(BOXES))
    for i, (top, bottom, left, right) in enumerate(BOXES):
        resized = resize_antialias(patch[i : i + 1], (bottom - top, right - left))[0]
        expected = np.array(image[i])
        expected[top:bottom, left:right] = resized
        np.testing.assert_allclose(pasted[i], expected, atol=1e-5)


def test_boxes_of_all_sizes_share_one_compiled_function():
    crop = jax.jit(mouth.crop_box, static_argnums=2)
    image = pictures(40)
    for box in BOXES:
        crop(image, jnp.array([box] * len(BOXES)), 16)
    assert crop._cache_size() == 1


def test_a_box_without_area_and_one_beyond_the_image_give_finite_numbers_and_gradients():
    image = pictures(40)
    boxes = jnp.array([(5, 5, 7, 7), (-6, 8, 30, 44), (100, 110, 3, 13), (60, 64, 60, 64)])

    def total(image, patch):
        cropped = mouth.crop_box(image, boxes, 16)
        pasted = mouth.paste_box(image, patch, boxes)
        return jnp.sum(cropped**2) + jnp.sum(pasted**2)

    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(image, pictures(32, seed=1))
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_array_equal(PASTE(image, pictures(32), boxes)[0], image[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_box_lies_around_the_corners_of_the_lips(seed):
    drawn = np.random.default_rng(seed).uniform(-0.06, 0.06, (68, 3)).astype(np.float32)
    top, bottom, left, right = np.asarray(mouth.mouth_box(jnp.asarray(drawn), 256))
    x, y = 5.0 * drawn[:, 0] * 128 + 128, 5.0 * (drawn[:, 1] + 0.01) * 128 + 128
    lips = slice(48, 60)
    reach = int(1.2 * max(np.ptp(x[lips]), np.ptp(y[lips]))) // 2
    assert bottom - top == right - left == 2 * reach
    assert top == int((y[48] + y[54]) / 2 - reach)
    assert left == int((x[48] + x[54]) / 2 - reach)
