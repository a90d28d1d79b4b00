"""How near two images are, inside a mask."""

import numpy as np
from jaxtyping import Bool, Float

PERFECT_DB = 100.0  # equal images; a PSNR is never reported above it


def psnr(
    image: Float[np.ndarray, "h w 3"],
    truth: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
) -> float:
    """Peak signal-to-noise ratio in dB of images in [-1, 1]; the peak is their range, 2.

    Raises:
        ValueError: the mask is empty.
    """
    error = float(np.mean(np.square(_inside(image, truth, mask))))
    return min(PERFECT_DB, 10 * np.log10(4.0 / max(error, 1e-12)))


def l1(
    image: Float[np.ndarray, "h w 3"],
    truth: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
) -> float:
    """Mean absolute difference in units of the range: 0 is equal, 1 is black for white.

    Raises:
        ValueError: the mask is empty.
    """
    return float(np.mean(np.abs(_inside(image, truth, mask)))) / 2


def _inside(image, truth, mask) -> np.ndarray:
    if not mask.any():
        raise ValueError("got an empty mask; expected at least one pixel to compare")
    clipped = np.clip(np.asarray(image, np.float64), -1, 1)
    return clipped[mask] - np.asarray(truth, np.float64)[mask]
