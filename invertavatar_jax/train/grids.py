"""Pictures of a training run: rows of images of one batch, labelled."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.export import picture

Images = Float[Array, "b h w c"] | Float[np.ndarray, "b h w c"]
_LIGHTNESS = (0.25, 0.95)  # of the colours of the greatest and the least depth
_HUE_DEGREES = (290.0, 100.0)  # violet to yellow
_CHROMA = 0.11  # little enough that nearly all colours exist on a screen

# OKLab to linear sRGB. Source: B. Ottosson, "A perceptual color space for image processing", 2020
_CONES_FROM_LAB = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.291485548],
    ]
)
_RGB_FROM_CONES = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def grid(rows: Mapping[str, Images], columns: int = 8) -> picture.Picture:
    """Lays out one row a name: the first images of its batch, enlarged to one size.

    Args:
        rows: by label, in order. Three channels are colours in [-1, 1]; one channel is a depth
            or another quantity, shown by `depth_colours`.

    Raises:
        ValueError: a row has neither one nor three channels, or there is no image.
    """
    shown = {name: _colours(name, np.asarray(images)[:columns]) for name, images in rows.items()}
    tallest = max((images.shape[1] for images in shown.values()), default=0)
    tile = int(np.clip(tallest, 64, 256))  # pixels: labels need the first, pages the second
    return picture.contact_sheet(
        [[picture.to_uint8(image) for image in images] for images in shown.values()],
        row_labels=list(shown),
        tile=tile,
    )


def _colours(name: str, images: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b h w 3"]:
    if images.shape[-1] == 1:
        return depth_colours(images)
    if images.shape[-1] != 3:
        raise ValueError(f"row {name!r}: got {images.shape[-1]} channels, expected 1 or 3")
    return images


def depth_colours(depth: Float[np.ndarray, "*b 1"]) -> Float[np.ndarray, "*b 3"]:
    """Colours in [-1, 1] for depths: light yellow is the nearest, dark violet the farthest.

    The lightness that people see falls evenly from the least to the greatest depth of the
    array, whatever they are; a depth that is not finite counts as the greatest.
    """
    finite = np.isfinite(depth)
    seen = depth[finite] if finite.any() else np.zeros(1)
    most, span = seen.max(), np.ptp(seen)
    nearness = (most - np.where(finite, depth, most)) / (span if span > 0 else 1.0)
    return _screen_colour(nearness[..., 0]).astype(np.float32)


def _screen_colour(light: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b 3"]:
    """A colour for 0 (dark) to 1 (light), in [-1, 1], evenly spaced to the eye."""
    mix = lambda ends: ends[0] + (ends[1] - ends[0]) * light
    hue = np.deg2rad(mix(_HUE_DEGREES))
    lab = np.stack([mix(_LIGHTNESS), _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)], -1)
    linear = np.clip((lab @ _CONES_FROM_LAB.T) ** 3 @ _RGB_FROM_CONES.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 2 * encoded - 1
