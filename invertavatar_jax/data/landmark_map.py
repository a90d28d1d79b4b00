"""Contour pictures of a face: what the landmark-map discriminator sees beside the image.

The released pictures are private; ours draw the contours that the paper's figure shows, each
in a colour of its own.
"""

import itertools

import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw

from invertavatar_jax.fit.camera import project
from invertavatar_jax.fit.landmarks import BROWS, LIDS, LIPS, OVAL
from invertavatar_jax.fit.morphable import HeadModel
from invertavatar_jax.types import Camera

POINTS = 468  # of MediaPipe's face mesh
FINER = 4  # lines are drawn on a grid so much finer, then averaged: PIL's own have steps
PIXELS_A_LINE = 256  # a line is a pixel wide, and a pixel more for each 256 of the side

_CONTOURS = (  # MediaPipe's numbers in order, colour, whether the last joins the first
    (OVAL, (255, 255, 255), True),
    (BROWS[:10], (255, 160, 0), True),
    (BROWS[10:], (255, 255, 0), True),
    (LIDS[:16], (0, 160, 255), True),
    (LIDS[16:], (0, 255, 255), True),
    ((168, 6, 197, 195, 5, 4), (0, 255, 0), False),  # bridge of the nose
    ((48, 64, 98, 97, 2, 326, 327, 294, 278), (0, 255, 120), False),  # its base
    (LIPS[:20], (255, 0, 0), True),
    (LIPS[20:], (255, 0, 160), True),
)


def place_landmarks(
    head: HeadModel, vertices: Float[Array, "*b v 3"], camera: Camera, side: int
) -> Float[np.ndarray, "*b 468 2"]:
    """Where driven heads' landmarks fall in their pictures.

    Args:
        vertices: world units.
        camera: leading axes as the vertices'.
        side: of the square picture, in pixels.

    Returns:
        x, y in pixels, pixel centres at .5; NaN for landmarks that the head does not have.
    """
    corners = np.asarray(vertices)[..., head.landmark_vertices, :]
    placed, _ = project(camera, (corners * head.landmark_weights[..., None]).sum(-2))
    known = head.landmark_index < POINTS
    landmarks = np.full((*placed.shape[:-2], POINTS, 2), np.nan, np.float32)
    landmarks[..., head.landmark_index[known], :] = placed[..., known, :] * side
    return landmarks


def draw_landmarks(
    points_px: Float[np.ndarray, "468 2"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """Draws oval, brows, eyes, nose and lips as thin coloured lines on black.

    Args:
        points_px: MediaPipe's face mesh, x and y in pixels of the picture, pixel centres at .5;
            lines from or to a point that is NaN are left out.
        side: of the square picture, in pixels.

    Source: TRAINING section A (discriminator of nine channels). Deviation: the style of the
        released pictures is not known.
    """
    canvas = Image.new("RGB", (side * FINER, side * FINER))
    draw = ImageDraw.Draw(canvas)
    width = FINER * (1 + side // PIXELS_A_LINE)
    for numbers, colour, closed in _CONTOURS:
        line = points_px[list(numbers + numbers[:1] if closed else numbers)] * FINER - 0.5
        for start, end in itertools.pairwise(line):
            if np.isfinite([start, end]).all():
                draw.line((*start.tolist(), *end.tolist()), fill=colour, width=width)
    return np.asarray(canvas.reduce(FINER))
