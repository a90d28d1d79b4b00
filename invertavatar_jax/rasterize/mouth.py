"""Cutting the mouth out of an image and pasting it back, where its box differs per image.

The box is a traced value, so one compiled function serves all boxes: resizing is a product
with matrices of fixed shape, whose rows hold the released resize's triangle weights.
"""

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float, Int

from invertavatar_jax.rasterize.orthographic import project_views

OUTER_LIPS = slice(48, 60)  # of 68 landmarks
LIP_CORNERS = (48, 54)
MARGIN = 1.2  # side of the box over that of the lips


def mouth_box(landmarks: Float[Array, "*b 68 3"], resolution: int) -> Int[Array, "*b 4"]:
    """First and last rows and columns (ends excluded) of the mouth in the front view.

    Args:
        landmarks: in the space of the mesh.
        resolution: side of the view in pixels.

    Source: NEXT3D section 5.
    """
    half = resolution / 2
    pixels = project_views(landmarks)[..., 0, :, :2] * half + half
    lips = pixels[..., OUTER_LIPS, :]
    extent = (lips.max(-2) - lips.min(-2)).max(-1, keepdims=True)
    reach = (MARGIN * extent).astype(jnp.int32) // 2
    first, last = LIP_CORNERS
    centre = (pixels[..., first, :] + pixels[..., last, :]) / 2
    low, high = (centre - reach).astype(jnp.int32), (centre + reach).astype(jnp.int32)
    return jnp.stack([low[..., 1], high[..., 1], low[..., 0], high[..., 0]], -1)


def crop_box(
    image: Float[Array, "b h w c"], box: Int[Array, "b 4"], side: int
) -> Float[Array, "b s s c"]:
    """Cuts a box out of each image and resizes it bilinearly, antialiased.

    What of a box lies beyond the image is not read; the released code has no defined result.

    Source: NEXT3D section 5.
    """
    rows = _cut(box[:, 0], box[:, 1], side, image.shape[1])
    columns = _cut(box[:, 2], box[:, 3], side, image.shape[2])
    return _apply(rows, columns, image)


def paste_box(
    image: Float[Array, "b h w c"], patch: Float[Array, "b s s c"], box: Int[Array, "b 4"]
) -> Float[Array, "b h w c"]:
    """Resizes each patch to its box bilinearly, antialiased, and overwrites the box with it.

    Source: NEXT3D section 5.
    """
    rows = _fill(box[:, 0], box[:, 1], patch.shape[1], image.shape[1])
    columns = _fill(box[:, 2], box[:, 3], patch.shape[2], image.shape[2])
    inside = lambda first, last, size: (
        (jnp.arange(size) >= first[:, None]) & (jnp.arange(size) < last[:, None])
    )
    within_rows = inside(box[:, 0], box[:, 1], image.shape[1])
    within_columns = inside(box[:, 2], box[:, 3], image.shape[2])
    within = within_rows[:, :, None, None] & within_columns[:, None, :, None]
    return jnp.where(within, _apply(rows, columns, patch), image)


def _cut(first, last, target: int, size: int) -> Float[Array, "b t n"]:
    """Rows of weights: `target` pixels from pixels first to last of `size`."""
    position = (jnp.arange(size) - first[:, None])[:, None, :]
    count = (last - first)[:, None, None]
    scale = jnp.maximum(count, 1).astype(jnp.float32) / target
    centre = (jnp.arange(target, dtype=jnp.float32)[:, None] + 0.5) * scale - 0.5
    weights = _triangle(position, centre, scale)
    return _normalize(jnp.where((position >= 0) & (position < count), weights, 0.0))


def _fill(first, last, source: int, size: int) -> Float[Array, "b n s"]:
    """Rows of weights: pixels first to last of `size` from `source` pixels; others are any."""
    position = (jnp.arange(size) - first[:, None])[:, :, None]
    count = jnp.maximum(last - first, 1)[:, None, None]
    scale = source / count.astype(jnp.float32)
    centre = (position.astype(jnp.float32) + 0.5) * scale - 0.5
    return _normalize(_triangle(jnp.arange(source), centre, scale))


def _triangle(position, centre, scale):
    distance = jnp.abs(position - centre) / jnp.maximum(scale, 1.0)
    return jnp.maximum(0.0, 1.0 - distance)


def _normalize(weights):
    total = weights.sum(-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)


def _apply(rows, columns, image):
    exact = Precision.HIGHEST
    image = jnp.einsum("bip,bpqc->biqc", rows, image, precision=exact)
    return jnp.einsum("bjq,biqc->bijc", columns, image, precision=exact)
