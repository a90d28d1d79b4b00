"""How near two images are, pixel by pixel or window by window, inside a mask."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from invertavatar_jax.metrics.metric import HIGHER, LOWER, Found, Metric, Pictures, pairs

PERFECT_DB = 100.0  # equal images; a PSNR is never reported above it
# SSIM's window and the constants that keep its quotients finite; RANGE is of [-1, 1].
RADIUS, SIGMA, RANGE = 5, 1.5, 2.0
_C1, _C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2

Image = Float[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]


def psnr(image: Image, truth: Image, mask: Mask) -> float:
    """Peak signal-to-noise ratio in dB of images in [-1, 1]; the peak is their range, 2.

    Raises:
        ValueError: the mask is empty.
    """
    error = float(np.mean(np.square(_inside(image, truth, mask))))
    return min(PERFECT_DB, 10 * np.log10(4.0 / max(error, 1e-12)))


def l1(image: Image, truth: Image, mask: Mask) -> float:
    """Mean absolute difference in units of the range: 0 is equal, 1 is black for white.

    Raises:
        ValueError: the mask is empty.
    """
    return float(np.mean(np.abs(_inside(image, truth, mask)))) / 2


def ssim(image: Image, truth: Image, mask: Mask) -> float:
    """Structural similarity, at most 1: Gaussian windows of 11 x 11, the mean of the channels.

    A window belongs to the pixel in its centre. Windows that reach beyond the image are left
    out; those at the mask's border see pixels outside it.

    Raises:
        ValueError: the image is smaller than a window, or no whole window has its centre in
            the mask.

    Source: Wang et al. 2004, equation 13 with its constants and window.
    """
    if min(image.shape[:2]) <= 2 * RADIUS:
        size = 2 * RADIUS + 1
        raise ValueError(f"got an image of {image.shape[:2]}, expected {size} x {size} or more")
    counted = _without_border(mask, RADIUS)
    _check_mask(counted)
    x, y = np.clip(np.asarray(image, np.float64), -1, 1), np.asarray(truth, np.float64)
    mean_x, mean_y = _windows(x), _windows(y)
    var_x, var_y = _windows(x * x) - mean_x**2, _windows(y * y) - mean_y**2
    covariance = _windows(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return float((light * structure)[counted].mean())


class Figure(NamedTuple):
    """A figure of one image, its truth and a mask."""

    of: Callable[[Image, Image, Mask], float]
    unit: str
    better: str
    margin: int = 0  # pixels of the image's border where a mask does not count


FIGURES = {
    "psnr": Figure(psnr, "dB", HIGHER),
    "l1": Figure(l1, "of the range", LOWER),
    "ssim": Figure(ssim, "", HIGHER, margin=RADIUS),
}


def make(name: str) -> Metric:
    """One of FIGURES, of (images, truths) and optionally masks; a value for each pair.

    Without masks all of the images count. Pairs whose mask is empty are NaN, in no mean, and
    counted.
    """
    figure = FIGURES[name]

    def measure(got: Pictures, wanted: Pictures, masks: Sequence[Mask] | None = None) -> Found:
        if masks is None:
            masks = [np.ones(image.shape[:2], bool) for image in got]
        values = []
        for (image, truth), mask in zip(pairs(got, wanted), masks, strict=True):
            seen = _without_border(mask, figure.margin).any()
            values.append(figure.of(image, truth, mask) if seen else np.nan)
        empty = int(np.isnan(values).sum())
        return Found(np.array(values), {"pairs": len(values), "empty_masks": empty})

    return Metric(name, figure.unit, figure.better, None, measure)


def _without_border(x: np.ndarray, margin: int) -> np.ndarray:
    return x[margin : x.shape[0] - margin, margin : x.shape[1] - margin]


def _inside(image: Image, truth: Image, mask: Mask) -> np.ndarray:
    _check_mask(mask)
    clipped = np.clip(np.asarray(image, np.float64), -1, 1)
    return clipped[mask] - np.asarray(truth, np.float64)[mask]


def _check_mask(mask: Mask) -> None:
    if not mask.any():
        raise ValueError("got an empty mask; expected at least one pixel to compare")


def _windows(x: np.ndarray) -> np.ndarray:
    """Gaussian means of the windows that lie inside the image."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        x = ndimage.correlate1d(x, weights, axis)
    return _without_border(x, RADIUS)
