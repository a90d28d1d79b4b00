"""PSNR, L1 and SSIM inside masks."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

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


@pytest.fixture
def pictures():
    """A smooth picture and one with noise; odd sides, so that no axis is taken for another."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:37, :29]
    truth = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)], -1)
    return truth, np.clip(truth + rng.normal(0, 0.1, truth.shape), -1, 1)


def test_ssim_equals_scikit_image(pictures):
    truth, shown = pictures
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    expected, windows = structural_similarity(
        truth, shown, data_range=2, channel_axis=-1, full=True, **options
    )
    got = image.ssim(shown, truth, np.ones((37, 29), bool))
    assert got == pytest.approx(expected, rel=1e-7) and 0.2 < got < 0.95
    mask = np.random.default_rng(2).uniform(size=(37, 29)) < 0.3
    inside = np.zeros((37, 29), bool)
    inside[5:-5, 5:-5] = mask[5:-5, 5:-5]
    assert image.ssim(shown, truth, mask) == pytest.approx(windows[inside].mean(), rel=1e-7)


def test_ssim_needs_a_whole_window(pictures):
    truth, shown = pictures
    border = np.ones((37, 29), bool)
    border[5:-5, 5:-5] = False
    with pytest.raises(ValueError, match="empty mask"):
        image.ssim(shown, truth, border)
    with pytest.raises(ValueError, match="expected 11 x 11 or more"):
        image.ssim(shown[:10], truth[:10], border[:10])


@pytest.mark.parametrize("name", image.FIGURES)
def test_a_metric_has_one_value_for_each_pair(name, pictures):
    truth, shown = pictures
    metric = image.make(name)
    masks = np.ones((2, 37, 29), bool)
    masks[1] = False
    score = metric([shown, truth], [truth], masks)
    assert score.values[0] == image.FIGURES[name].of(shown, truth, masks[0])
    assert np.isnan(score.values[1]) and score.mean == score.values[0]
    assert score.counts == {"pairs": 2, "empty_masks": 1}
    whole = metric([shown, truth], [truth, truth])
    assert whole.values[0] == score.values[0]
    best = {"psnr": image.PERFECT_DB, "l1": 0, "ssim": 1}
    assert whole.values[1] == pytest.approx(best[name])
    assert whole.report()["weights"] is None


def test_results_that_do_not_pair_up_are_refused(pictures):
    with pytest.raises(ValueError, match="got 3 results to compare with 2"):
        image.make("l1")([pictures[0]] * 3, pictures)
