"""Checks that read several files of a frame: do raster, UV map, camera, picture and masks agree?

A raster says which texel shows at a place (x, y) of the head's frontal plane, and the UV map
says where that texel falls in the picture. The place's depth is not stored, but the camera takes
the line of all depths to a line in the picture: the texel must fall on it. No head model is
needed, and what is wrong is told by the one change that would make all agree.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.doctor.frame_files import Picture
from invertavatar_jax.data.doctor.pictures import IMAGE_SIDE, grey
from invertavatar_jax.data.prepared import BOX_WARP, WINDOW
from invertavatar_jax.data.released import SIDE

NEAR = 0.025  # image sides that a texel may miss its line by: smoothed cameras are not exact
EVERY = 6  # rows and columns of the raster: some hundred places are enough
LEAST_PLACES = 40
COLOURS = 24.0  # levels that the texture may differ from the picture by, in the median
ON_MASK, OFF_MASK = 0.75, 0.35  # shares of the seen face on its mask
DRAW_AGAIN = "make the maps again from the fitted head and camera"

Map3: TypeAlias = Float[np.ndarray, "u u 3"]
Map4: TypeAlias = Float[np.ndarray, "r r 4"]
Camera25: TypeAlias = Float[np.ndarray, "25"]


def raster_is_upright(raster: Map4, uv: Map3, camera: Camera25) -> Problem | None:
    """Rows of the raster grow with +y."""
    if _would_mend(raster, uv, camera, raster=raster[::-1]):
        fix = "flip its rows: row 0 is the lowest"
        return Problem("rows", "rows that grow with +y", "the face upside down", fix)
    return None


def raster_is_not_mirrored(raster: Map4, uv: Map3, camera: Camera25) -> Problem | None:
    """Columns of the raster grow with +x."""
    if _would_mend(raster, uv, camera, raster=raster[:, ::-1]):
        return Problem("columns", "columns that grow with +x", "a mirrored face", "flip columns")
    return None


def raster_is_not_transposed(raster: Map4, uv: Map3, camera: Camera25) -> Problem | None:
    """Rows come before columns."""
    if _would_mend(raster, uv, camera, raster=raster.swapaxes(0, 1)):
        return Problem("axes", "rows before columns", "columns before rows", "swap the axes")
    return None


def raster_has_u_before_v(raster: Map4, uv: Map3, camera: Camera25) -> Problem | None:
    """The first channel is u, the second v."""
    if _would_mend(raster, uv, camera, raster=raster[..., [1, 0, 2, 3]]):
        return Problem("u, v", "u before v", "v before u", "swap the first two channels")
    return None


def uv_has_x_before_y(uv: Map3, raster: Map4, camera: Camera25) -> Problem | None:
    """The first channel is x, the second y."""
    if _would_mend(raster, uv, camera, uv=uv[..., [1, 0, 2]]):
        return Problem("x, y", "x before y", "y before x", "swap the first two channels")
    return None


def uv_has_y_downwards(uv: Map3, raster: Map4, camera: Camera25) -> Problem | None:
    """y grows towards the bottom of the picture."""
    if _would_mend(raster, uv, camera, uv=uv * [1, -1, 1]):
        return Problem("y", "y that grows downwards", "y that grows upwards", "negate y")
    return None


def uv_rows_grow_with_v(uv: Map3, raster: Map4, camera: Camera25) -> Problem | None:
    """Row 0 of a UV map is v = 0."""
    if _would_mend(raster, uv, camera, uv=uv[::-1]):
        return Problem("rows", "rows that grow with v", "the map upside down", "flip its rows")
    return None


def uv_counts_from_the_centre(uv: Map3, raster: Map4, camera: Camera25) -> Problem | None:
    """-1 is the picture's left and top, not 0."""
    if _would_mend(raster, uv, camera, uv=uv * [2, 2, 1] - [1, 1, 0]):
        return Problem("x, y", "-1 to 1 across the picture", "0 to 1", "give 2 * x - 1")
    return None


def uv_is_of_this_frame(
    uv: Map3, raster: Map4, camera: Camera25, image: Picture, texture: Picture
) -> Problem | None:
    """A UV map that disagrees with camera and raster, and with the texture too, is astray."""
    if _miss(raster, uv, camera) > NEAR and _differ(uv, image, texture) > COLOURS:
        found = "it elsewhere, and the texture too: the map is of another frame"
        return Problem("x, y", "texels where the camera shows them", found, DRAW_AGAIN)
    return None


def camera_agrees_with_the_maps(camera: Camera25, raster: Map4, uv: Map3) -> Problem | None:
    """The camera shows the raster's places where the UV map has them."""
    miss = _miss(raster, uv, camera)
    if miss > NEAR:
        expected = f"the maps' texels within {NEAR:g} of the image side"
        found = "too few texels in both" if np.isinf(miss) else f"{miss:.2g} in the median"
        fix = "write the frame's own camera, or make its maps again"
        return Problem("pose", expected, found, fix)
    return None


def texture_is_white_where_unseen(texture: Picture, uv: Map3) -> Problem | None:
    """Texels that are not visible are white."""
    unseen = texture.levels[uv[..., 2] < 0.5]
    share = float((unseen >= 250).all(-1).mean()) if len(unseen) else 1.0
    if share < 0.9:
        found = f"{share:.0%} of them white"
        return Problem("colours", "white where unseen", found, "make the texture again")
    return None


def texture_shows_the_image(texture: Picture, uv: Map3, image: Picture) -> Problem | None:
    """Seen texels have the colours of the picture where they fall."""
    apart = _differ(uv, image, texture)
    if apart > COLOURS:
        expected = f"the image's, within {COLOURS:g} levels"
        found = f"{apart:.0f} levels apart in the median: image or texture is of another frame"
        return Problem("colours", expected, found, "make the texture again from the image")
    return None


def mask_is_not_inverted(mask: Picture, uv: Map3) -> Problem | None:
    """The seen face lies on the mask, not beside it."""
    on = _on_mask(mask, uv)
    if on < OFF_MASK:
        found = f"{on:.0%} of the face on it: it marks the background"
        return Problem("levels", "255 on the person", found, "exchange 0 and 255")
    return None


def mask_covers_the_face(mask: Picture, uv: Map3) -> Problem | None:
    """Nearly all of the seen face lies on the mask."""
    on = _on_mask(mask, uv)
    if on < ON_MASK:
        expected = f"{ON_MASK:.0%} or more of the seen face on it"
        found, fix = f"{on:.0%}: it is shifted or of another frame", "segment the picture again"
        return Problem("place", expected, found, fix)
    return None


CHECKS = (
    raster_is_upright,
    raster_is_not_mirrored,
    raster_is_not_transposed,
    raster_has_u_before_v,
    uv_has_x_before_y,
    uv_has_y_downwards,
    uv_rows_grow_with_v,
    uv_counts_from_the_centre,
    uv_is_of_this_frame,
    camera_agrees_with_the_maps,
    texture_is_white_where_unseen,
    texture_shows_the_image,
    mask_is_not_inverted,
    mask_covers_the_face,
)


class _Places(NamedTuple):
    """Places of the frontal plane, and where the UV map puts their texels."""

    x: Float[np.ndarray, " n"]  # world
    y: Float[np.ndarray, " n"]
    position: Float[np.ndarray, "n 2"]  # image sides


def _would_mend(stored_raster, stored_uv, stored_camera, **changed) -> bool:
    """Whether one change turns files that disagree into files that agree."""
    stored = {"raster": stored_raster, "uv": stored_uv, "camera": stored_camera}
    before = _miss(**stored)
    return before > NEAR and _miss(**{**stored, **changed}) < min(NEAR, 0.3 * before)


def _miss(raster: Map4, uv: Map3, camera: Camera25) -> float:
    """How far texels are from their lines in the picture: the median, in image sides."""
    places = _places(raster, uv)
    if len(places.x) < LEAST_PLACES:
        return np.inf
    pose = np.linalg.inv(camera[:16].reshape(4, 4))
    matrix = camera[16:].reshape(3, 3) @ pose[:3]  # from a point of the world to the picture
    at_plane = np.stack([places.x, places.y, 0 * places.x, 1 + 0 * places.x], -1) @ matrix.T
    along = matrix[:, 2]
    # The depth z whose image is nearest: position * (w + z w') = xy + z xy', by least squares.
    error = at_plane[:, :2] - places.position * at_plane[:, 2:]
    change = along[:2] - places.position * along[2]
    depth = -(error * change).sum(-1) / np.maximum((change**2).sum(-1), 1e-12)
    point = at_plane + np.clip(depth, -BOX_WARP / 2, BOX_WARP / 2)[:, None] * along
    seen = point[:, :2] / np.where(np.abs(point[:, 2:]) < 1e-9, 1e-9, point[:, 2:])
    return float(np.median(np.linalg.norm(seen - places.position, axis=-1)))


def _places(raster: Map4, uv: Map3) -> _Places:
    rows, columns = np.mgrid[EVERY // 2 : SIDE : EVERY, EVERY // 2 : SIDE : EVERY]
    drawn = raster[rows, columns].astype(np.float64)
    texel = np.floor((drawn[..., :2] + 1) / 2 * SIDE).astype(int).clip(0, SIDE - 1)
    found = uv[texel[..., 1], texel[..., 0]].astype(np.float64)
    used = (drawn[..., 2] >= 0.98) & (found[..., 2] >= 0.5)
    top, bottom, left, right = WINDOW
    world = lambda index, low, high: (
        ((low + (index[used] + 0.5) * (high - low) / SIDE) / 256 - 0.5) * BOX_WARP
    )
    position = (found[used, :2] + 1) / 2
    return _Places(world(columns, left, right), world(rows, top, bottom), position)


def _pixels(uv: Map3, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which texels are seen inside the picture, and their rows and columns there."""
    at = (uv[..., :2].astype(np.float64) + 1) / 2
    seen = (uv[..., 2] >= 0.5) & (at >= 0).all(-1) & (at < 1).all(-1)
    place = (at[seen] * side).astype(int)
    return seen, place[:, 1], place[:, 0]


def _differ(uv: Map3, image: Picture, texture: Picture) -> float:
    """The median difference between texels and the pixels they fall on, in levels."""
    seen, rows, columns = _pixels(uv, len(image.levels))
    if not seen.any():
        return 0.0
    apart = texture.levels[seen].astype(int) - image.levels[rows, columns]
    return float(np.median(np.abs(apart).max(-1)))


def _on_mask(mask: Picture, uv: Map3) -> float:
    """The share of seen texels that fall on the mask."""
    seen, rows, columns = _pixels(uv, IMAGE_SIDE)
    return float(grey(mask)[rows, columns].mean()) if seen.any() else 1.0
