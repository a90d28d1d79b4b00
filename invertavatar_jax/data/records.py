"""Frame records: one frame as training reads it, at the sizes of a model.

    image       uint8   h h 3  RGB
    matte       uint8   h h 1  255 = head and hair (where a data set has no such mask: person)
    uv_rgb      uint8   u u 3  the picture in UV space, white where unseen; rows grow with v
    uv_xy       float16 u u 2  where each texel falls in the image, in [-1, 1]
    uv_visible  float32 u u 1  in [0, 1]
    raster      float32 r r 3  (u, v) in [-1, 1], mask in {0, 1}; rows grow with +y
    camera      float32 25     see types.Camera
    landmarks   uint8   h h 3  contours of the face, see landmark_map.py; black: not known
    clip        text           name of its clip
    frame       int32          place in its clip, from 0

tfds_builders/ write them to array_record files, training.py deals them out.
Source: TRAINING section E, SPEC sections 7 and 9.5.
"""

import dataclasses
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.data import landmark_map, released
from invertavatar_jax.data.prepared import BOX_WARP, WINDOW
from invertavatar_jax.data.synthetic.scene import Clip
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.fit.morphable import HeadModel
from invertavatar_jax.settings import Departures, Model

PICTURES = ("image", "matte", "uv_rgb", "landmarks")
_PLANE = 256  # rows and columns that Model.raster_window counts


class Sizes(NamedTuple):
    """What a record depends on of a model."""

    image: int
    uv: int
    raster: int
    window: tuple[int, int, int, int]  # see Model.raster_window
    box_warp: float


class Frame(NamedTuple):
    """A record's arrays, as in this module's table."""

    image: UInt8[np.ndarray, "h h 3"]
    matte: UInt8[np.ndarray, "h h 1"]
    uv_rgb: UInt8[np.ndarray, "u u 3"]
    uv_xy: np.ndarray  # float16 u u 2
    uv_visible: Float[np.ndarray, "u u 1"]
    raster: Float[np.ndarray, "r r 3"]
    camera: Float[np.ndarray, "25"]
    landmarks: UInt8[np.ndarray, "h h 3"]


def sizes_of(model: Model) -> Sizes:
    """The sizes of a model's records."""
    return Sizes(
        model.renderer.image_resolution,
        model.uv_resolution,
        model.raster_resolution,
        model.raster_window,
        model.renderer.box_warp,
    )


def check_reads(model: Model, sizes: Sizes) -> None:
    """Refuses models that cannot read records of these sizes.

    Raises:
        UserError: sizes differ, or the model reads the head's depth, which records do not hold.
    """
    if model.departures != Departures():
        raise UserError(
            "This model reads the head's depth, which records do not hold: train a preset "
            "without departures, such as paper or tiny_paper."
        )
    wanted = sizes_of(model)
    differing = [
        f"{name} {found} (expected {expected})"
        for name, found, expected in zip(Sizes._fields, sizes, wanted, strict=True)
        if found != expected
    ]
    if differing:
        raise UserError(
            f"The records were made for another model: {', '.join(differing)}; make them again "
            "with the preset that is trained."
        )


def from_layout(
    record: released.Record, sizes: Sizes, uv_mask: Float[np.ndarray, "u u 1"] | None = None
) -> Frame:
    """A frame of the released layout; at the paper's sizes every value is as stored.

    Args:
        uv_mask: weights of texels, of prepared.read_uv_mask; None leaves visibility as stored.

    Pictures are resized by Lanczos' kernel; maps of coordinates take the nearest texel, since
    neither coordinates nor masks can be averaged.
    """
    stored = record.head_matte if record.head_matte is not None else record.matte
    stored = np.full(record.image.shape[:2], 255, np.uint8) if stored is None else stored
    contours = np.zeros_like(record.image) if record.contours is None else record.contours
    picture = lambda levels: released.resize_picture(levels, sizes.image)
    visible = record.uv_xy_visible[..., 2:]
    visible = visible if uv_mask is None else visible * uv_mask
    texel = _nearest(len(record.uv_rgb), sizes.uv)
    maps = lambda values: np.ascontiguousarray(values[np.ix_(texel, texel)])
    return Frame(
        picture(record.image),
        picture(stored)[..., None],
        maps(record.uv_rgb),
        maps(record.uv_xy_visible[..., :2]).astype(np.float16),
        maps(visible),
        _resample_raster(record.raster, sizes),
        record.camera,
        picture(contours),
    )


def from_scene(clip: Clip, geometry: frames.Geometry, head: HeadModel) -> list[Frame]:
    """The frames of a synthetic person, drawn at the model's image_resolution.

    Args:
        geometry: of the head and a model without departures.
    """
    count, side = len(clip.image), clip.image.shape[1]
    camera = from_vector(clip.camera)
    identity = np.tile(clip.identity, (count, 1))
    driven = (identity, clip.expression, clip.gaze_rad)
    seen, _ = frames.make_frames(geometry, clip.image, clip.matte, *driven, camera)
    vertices, _ = geometry.deform(*driven)
    points = landmark_map.place_landmarks(head, vertices, camera, side)
    eight_bits = np.round((np.asarray(seen.uv_rgb) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    columns = (
        clip.image,
        clip.head_matte[..., None],
        eight_bits,
        np.asarray(seen.uv_xy).astype(np.float16),
        np.asarray(seen.uv_visible, np.float32),
        np.asarray(seen.drive.raster, np.float32),
        clip.camera,
        np.stack([landmark_map.draw_landmarks(face, side) for face in points]),
    )
    return [Frame(*row) for row in zip(*columns, strict=True)]


def without_departures(model: Model) -> Model:
    """The model in the paper's form: what records are made for."""
    return dataclasses.replace(model, departures=Departures())


def encode(frame: Frame) -> dict[str, np.ndarray | io.BytesIO]:
    """A frame with its pictures as PNG files: without TensorFlow tfds encodes none itself."""
    values = frame._asdict()
    return values | {name: _png(values[name]) for name in PICTURES}


def _png(picture: UInt8[np.ndarray, "h w c"]) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "png")
    file.seek(0)
    return file


def _nearest(source: int, target: int) -> np.ndarray:
    """For each of `target` rows, the one of `source` rows that holds its centre."""
    return ((np.arange(target) + 0.5) * source / target).astype(int)


def _resample_raster(
    raster: Float[np.ndarray, "s s 4"], sizes: Sizes
) -> Float[np.ndarray, "r r 3"]:
    """The raster on another model's window of the frontal plane; outside of it no mask."""
    rows, inside_rows = _along(raster.shape[0], WINDOW[:2], sizes.window[:2], sizes)
    columns, inside_columns = _along(raster.shape[1], WINDOW[2:], sizes.window[2:], sizes)
    found = raster[np.ix_(rows, columns)][..., :3].copy()
    inside = inside_rows[:, None] & inside_columns
    # u and v stay as stored beside the face: the released loader keeps them too
    found[..., 2] = (found[..., 2] >= 0.5) & inside
    return found


def _along(
    source: int, stored: tuple[int, ...], wanted: tuple[int, ...], sizes: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to take along one axis, and which of them lie in the stored window."""
    plane = wanted[0] + (np.arange(sizes.raster) + 0.5) / sizes.raster * (wanted[1] - wanted[0])
    world = (plane / _PLANE - 0.5) * sizes.box_warp
    there = (world / BOX_WARP + 0.5) * _PLANE
    row = np.floor((there - stored[0]) / (stored[1] - stored[0]) * source).astype(int)
    return row.clip(0, source - 1), (row >= 0) & (row < source)
