"""Frames and drives from a data set in the released layout, without its head model.

The layout holds, for every frame, the raster of the head and the UV maps that the networks
read, so that neither tracking nor drawing is needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.data.released import IMAGES, LABELS, SIDE, Record, Released
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import faceverse
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.settings import Departures, Model
from invertavatar_jax.types import Camera, Drive, Frame

UV_MASK = "dense_uv_expanded_mask_onlyFace.png"  # multiplies visibility in the released system
WINDOW, BOX_WARP = (57, 185, 64, 192), 1.0  # of the frontal plane that the rasters show


class Location(NamedTuple):
    """A data set, or a part of it."""

    root: Path  # the folder that holds images512x512
    part: str  # "", "clip" or "clip/frame.png"


def locate(path: str | Path) -> Location | None:
    """The data set that a path names: its root, `images512x512`, a clip in it or a frame."""
    path = Path(path)
    for root in (path, path / "dataset"):
        if (root / IMAGES).is_dir():
            return Location(root, "")
    for folder in (path, *path.parents):
        if folder.name == IMAGES and (folder / LABELS[1]).is_file():
            part = path.relative_to(folder).as_posix()
            return Location(folder.parent, "" if part == "." else part)
    return None


def numbers(data: Released, parts: Sequence[str]) -> list[int]:
    """The frames of one clip, or single frames, in the order of their names.

    Args:
        parts: of Location; "" is the data set's only clip.

    Raises:
        UserError: there are several clips, or none of that name.
    """
    clips = sorted({file.rpartition("/")[0] for file, _ in data.labels})
    found = []
    for part in parts:
        wanted = clips[0] if part == "" and len(clips) == 1 else part
        if wanted == "" and len(clips) > 1:
            shown = ", ".join(clips[:5]) + (", ..." if len(clips) > 5 else "")
            raise UserError(
                f"{data.root} holds {len(clips)} clips ({shown}); give one of them, as in "
                f"{data.root / IMAGES / clips[0]}."
            )
        own = lambda file, wanted=wanted: wanted in (file, file.rpartition("/")[0])
        chosen = [i for i, (file, _) in enumerate(data.labels) if own(file)]
        if not chosen:
            raise UserError(
                f"{data.root / IMAGES / LABELS[1]} lists no frame of {part or 'a clip'}."
            )
        found += sorted(chosen, key=lambda i: _order(data.labels[i][0]))
    return found


def check_reads(sizes: Model) -> None:
    """Refuses models that read more than the layout holds.

    Raises:
        UserError: the model needs the head's depth, or rasters of another window.
    """
    if sizes.departures != Departures():
        raise UserError(
            "These weights read the head's depth, which data in the released layout does not "
            "hold: give weights converted from a released checkpoint with --weights, or photos."
        )
    if sizes.raster_window != WINDOW or sizes.renderer.box_warp != BOX_WARP:
        raise UserError(
            f"These weights read rasters of rows and columns {sizes.raster_window} of a box of "
            f"side {sizes.renderer.box_warp:g}; data in the released layout shows {WINDOW}, side 1."
        )


def read_uv_mask(root: Path) -> Float[np.ndarray, "u u 1"] | None:
    """The released system's weights of texels, from beside a data set; None where it is not.

    Raises:
        UserError: the picture has another size.
    """
    for folder in (root, root.parent):
        path = folder / UV_MASK
        if path.is_file():
            with Image.open(path) as opened:
                mask = np.asarray(opened.convert("L"), np.float32)[..., None] / 255
            if mask.shape != (SIDE, SIDE, 1):
                size = f"{mask.shape[1]} x {mask.shape[0]}"
                raise UserError(f"{path} is {size} pixels; expected {SIDE} x {SIDE}.")
            return mask
    return None


def prepare(
    record: Record, sizes: Model, uv_mask: Float[np.ndarray, "u u 1"] | None = None
) -> frames.Prepared:
    """A stored frame as the networks read it.

    Args:
        uv_mask: of `read_uv_mask`; None leaves the stored visibility as it is.

    Raises:
        UserError: the model's maps are of a size that the stored ones do not divide into.

    Source: SPEC sections 7, 9.5, TRAINING section E.
    """
    side = sizes.renderer.image_resolution
    picture = lambda levels: jnp.asarray(levels, jnp.float32)[None] / 127.5 - 1
    image = picture(record.image)
    image = image if image.shape[1] == side else resize_antialias(image, (side, side))
    stored = record.head_matte if record.matte is None else record.matte
    matte = jnp.ones((1, side, side, 1))
    if stored is not None:
        person = jnp.asarray(stored > 127, jnp.float32)[None, ..., None]
        matte = resize_antialias(person, (side, side))
    visible = record.uv_xy_visible[..., 2:]
    visible = visible if uv_mask is None else visible * uv_mask
    every = lambda values: _every(values, sizes.uv_resolution)
    frame = Frame(
        image,
        matte,
        picture(every(record.uv_rgb)),
        jnp.asarray(every(record.uv_xy_visible[..., :2]))[None],
        jnp.asarray(every(visible))[None],
        drive(record, sizes),
    )
    return frames.Prepared(frame, None, record.coefficients[faceverse.SLICES["identity"]])


def drive(record: Record, sizes: Model) -> Drive:
    """What a stored frame makes an avatar do; batch axis 1. Errors as of `prepare`."""
    raster = record.raster[..., :3].copy()
    raster[..., 2] = raster[..., 2] >= 0.5  # u and v stay as stored: the released loader does so
    raster = jnp.asarray(_every(raster, sizes.raster_resolution))[None]
    return Drive(Camera(*map(jnp.asarray, from_vector(record.camera[None]))), raster)


def _every(values: np.ndarray, side: int) -> np.ndarray:
    """Every n-th row and column: coordinates and masks must not be averaged."""
    step, rest = divmod(len(values), side)
    if rest or not step:
        raise UserError(
            f"These weights read maps of {side} x {side} texels; data in the released layout "
            f"has {len(values)} x {len(values)}, which is no multiple of it."
        )
    return values[step // 2 :: step, step // 2 :: step]


def _order(file: str) -> tuple:
    """Whole numbers by value, other names by letters after them."""
    name = Path(file).stem
    return (0, int(name), file) if name.isdigit() else (1, 0, file)
