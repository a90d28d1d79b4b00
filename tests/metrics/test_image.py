"""PSNR and L1 inside masks."""

import numpy as np
import pytest

from invertavatar_jax.metrics import image


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (9, 7, 3))
    mask = rng.uniform(size=(9, 7)) < 0.5
    return truth, np.clip(truth + rng.normal(0, 0.2, truth.shape), -1, 1), mask


def test_figures_equal_a_loop_over_pixels(pair):
    truth, shown, mask = pair
    squares, sizes = [], []
    for y, x in zip(*np.nonzero(mask), strict=True):
        for c in range(3):
            difference = (shown[y, x, c] - truth[y, x, c]) * 127.5  # in levels of 0..255
            squares.append(difference**2)
            sizes.append(abs(difference))
    expected = 10 * np.log10(255.0**2 / np.mean(squares))
    assert image.psnr(shown, truth, mask) == pytest.approx(expected)
    assert image.l1(shown, truth, mask) == pytest.approx(np.mean(sizes) / 255)


def test_pixels_outside_the_mask_do_not_count(pair):
    truth, shown, mask = pair
    spoilt = np.where(mask[..., None], shown, 1.0)
    assert image.psnr(spoilt, truth, mask) == image.psnr(shown, truth, mask)
    assert image.l1(spoilt, truth, mask) == image.l1(shown, truth, mask)


def test_equal_images_have_a_finite_figure(pair):
    truth, _, mask = pair
    assert image.psnr(truth, truth, mask) == image.PERFECT_DB
    assert image.l1(truth, truth, mask) == 0


def test_an_empty_mask_is_an_error(pair):
    truth, shown, mask = pair
    with pytest.raises(ValueError, match="empty mask"):
        image.psnr(shown, truth, mask & False)
