"""Pictures of a run: rows of images in their colours."""

import numpy as np
import pytest

from invertavatar_jax.train import grids


def luminance(colour):
    """CIE lightness of screen colours in [-1, 1]."""
    encoded = (colour + 1) / 2
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def test_depth_gets_evenly_darker():
    colours = grids.depth_colours(np.linspace(2.2, 3.3, 101)[:, None])
    steps = np.diff(luminance(colours))
    assert (steps < 0).all() and steps.min() / steps.max() < 2
    assert (np.abs(colours) <= 1).all()


def test_depth_colours_do_not_depend_on_the_unit():
    depth = np.random.default_rng(0).uniform(2, 3, (2, 4, 4, 1))
    left, right = grids.depth_colours(depth), grids.depth_colours(1000 * depth - 5)
    np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("depth", [[2.0, 2.0], [np.inf, 2.0, np.nan], [np.nan], []])
def test_any_depth_has_a_colour(depth):
    colours = grids.depth_colours(np.array(depth)[:, None])
    assert colours.shape == (len(depth), 3) and np.isfinite(colours).all()


def test_an_empty_ray_is_as_dark_as_the_farthest():
    near, far, empty = grids.depth_colours(np.array([[1.0], [2.0], [np.inf]]))
    np.testing.assert_array_equal(far, empty)
    assert luminance(near) > luminance(far)


def test_a_grid_shows_every_row_at_one_size():
    solid = lambda value, side, channels: np.full((3, side, side, channels), value, np.float32)
    real, raw = solid(1.0, 96, 3), solid(-1.0, 16, 3)
    raw[..., 2] = 1.0
    picture = grids.grid({"real": real, "raw": raw, "depth": solid(2.0, 16, 1)}, columns=2)
    assert picture.dtype == np.uint8
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    area = {tuple(c): n for c, n in zip(colours.tolist(), counts, strict=True)}
    assert area[(0, 0, 255)] == 2 * 96 * 96  # enlarged to the tallest row
    assert max(picture.shape) < 4 * 100  # two columns, three rows


def test_an_unshowable_row_is_named():
    with pytest.raises(ValueError, match="'planes': got 32 channels"):
        grids.grid({"planes": np.zeros((1, 8, 8, 32), np.float32)})
