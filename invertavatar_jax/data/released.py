"""The released system's layout of a data set on disk: writing clips to it and reading it.

    images512x512/<clip>/<frame>.png                 RGB
    images512x512/dataset.json                       {"labels": [["clip/frame.png", 25 numbers]]}
    images512x512/dataset_realcam.json               the same
    orthRender256x256_face_eye/<clip>/<frame>.npy    float16 256 256 4: u, v, mask, visible
    coeffs/<clip>/<frame>.npy                        float32 610: see SLICES
    uvRender256x256/<clip>/<frame>.npy               float16 256 256 3: x, y in [-1, 1], visible
    uvRender256x256/<clip>/<frame>_uvgttex.png       the picture in UV space, white where unseen
    headmasks512x512/<clip>/<frame>.png              255 = head and hair
    fgmasks512x512/<clip>/<frame>.png                255 = person

Source: TRAINING section E, SPEC section 7. Deviation: coefficients are those of the head
model in use, padded with zeros; there are no landmark pictures.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.data.synthetic.scene import Clip
from invertavatar_jax.errors import UserError
from invertavatar_jax.types import Camera

IMAGES, RASTERS, COEFFICIENTS = "images512x512", "orthRender256x256_face_eye", "coeffs"
UVS, HEADS, PERSONS = "uvRender256x256", "headmasks512x512", "fgmasks512x512"
LABELS = ("dataset.json", "dataset_realcam.json")
# Of the 610 coefficients: the head model's own numbers fill the first places of each part.
SLICES = {
    "identity": slice(0, 150),
    "expression": slice(150, 321),
    "eyes": slice(605, 609),  # left pitch, left yaw, right pitch, right yaw; radians
    "scale": slice(609, 610),
}
COUNT = 610


class Record(NamedTuple):
    """One frame as it lies on disk."""

    name: str  # clip/frame
    image: UInt8[np.ndarray, "h w 3"]
    camera: Float[np.ndarray, "25"]
    raster: Float[np.ndarray, "r r 4"]  # rows grow with +y
    coefficients: Float[np.ndarray, "610"]
    uv_xy_visible: Float[np.ndarray, "u u 3"]  # rows grow with v
    uv_rgb: UInt8[np.ndarray, "u u 3"]
    head_matte: UInt8[np.ndarray, "h w"]
    matte: UInt8[np.ndarray, "h w"]


def write_clip(root: Path, name: str, clip: Clip, geometry: frames.Geometry) -> None:
    """Writes one clip's files; `write_labels` completes the data set.

    Args:
        geometry: of the head and the paper's preset: it gives rasters and UV maps.
    """
    count = len(clip.image)
    side = geometry.sizes.renderer.image_resolution
    camera = Camera(clip.camera[:, :16].reshape(-1, 4, 4), clip.camera[:, 16:].reshape(-1, 3, 3))
    identity = np.tile(clip.identity, (count, 1))
    known = (identity, clip.expression, clip.gaze_rad, camera)
    seen, _ = frames.make_frames(geometry, clip.image, clip.matte, *known)
    raster = np.asarray(seen.drive.raster)
    raster = np.concatenate([raster, raster[..., 2:]], -1).astype(np.float16)
    uv = np.concatenate([seen.uv_xy, seen.uv_visible], -1).astype(np.float16)
    uv_rgb = np.round((np.asarray(seen.uv_rgb) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    for index in range(count):
        frame = f"{name}/{index:05d}"
        coefficients = pack(clip.identity, clip.expression[index], clip.gaze_rad[index])
        _save(root / RASTERS / f"{frame}.npy", raster[index])
        _save(root / RASTERS / f"{frame}_coeff.npy", coefficients)
        _save(root / COEFFICIENTS / f"{frame}.npy", coefficients)
        _save(root / UVS / f"{frame}.npy", uv[index])
        _save(root / UVS / f"{frame}_uvgttex.png", uv_rgb[index])
        _save(root / IMAGES / f"{frame}.png", _resize(clip.image[index], side))
        _save(root / HEADS / f"{frame}.png", _resize(clip.head_matte[index], side))
        _save(root / PERSONS / f"{frame}.png", _resize(clip.matte[index], side))
        _save(root / IMAGES / f"{frame}.camera.npy", clip.camera[index])


def write_labels(root: Path) -> None:
    """Lists all frames that are there, in order, with their cameras."""
    folder = root / IMAGES
    labels = []
    for path in sorted(folder.glob("*/*.camera.npy")):
        name = path.relative_to(folder).as_posix().removesuffix(".camera.npy")
        labels.append([f"{name}.png", np.load(path).astype(float).tolist()])
        path.unlink()
    for file in LABELS:
        (folder / file).write_text(json.dumps({"labels": labels}))


class Released:
    """A data set in the released layout; random access by number."""

    def __init__(self, root: str | Path, labels: str = LABELS[1]):
        """Reads the labels.

        Raises:
            UserError: there are none, or they are not as expected.
        """
        self.root = Path(root)
        path = self.root / IMAGES / labels
        try:
            self.labels = json.loads(path.read_text())["labels"]
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise UserError(
                f'{path}: expected {{"labels": [[file, 25 numbers], ...]}}, found {error}: '
                "point to the folder that holds images512x512"
            ) from error

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> Record:
        file, camera = self.labels[number]
        name = file.rsplit(".", 1)[0]
        if len(camera) != 25:
            raise UserError(f"{file}: its label has {len(camera)} numbers, expected 25")
        array = lambda kind, ending: np.load(self.root / kind / f"{name}{ending}")
        picture = lambda kind, ending: np.asarray(Image.open(self.root / kind / f"{name}{ending}"))
        return Record(
            name,
            picture(IMAGES, ".png"),
            np.array(camera, np.float32),
            array(RASTERS, ".npy").astype(np.float32),
            array(COEFFICIENTS, ".npy"),
            array(UVS, ".npy").astype(np.float32),
            picture(UVS, "_uvgttex.png"),
            _first_channel(picture(HEADS, ".png")),
            _first_channel(picture(PERSONS, ".png")),
        )


def pack(
    identity: Float[np.ndarray, " k"],
    expression: Float[np.ndarray, " e"],
    gaze_rad: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "610"]:
    """The coefficients in the released order."""
    packed = np.zeros(COUNT, np.float32)
    packed[SLICES["identity"]][: len(identity)] = identity
    packed[SLICES["expression"]][: len(expression)] = expression
    packed[SLICES["eyes"]] = gaze_rad[[1, 0, 3, 2]]
    packed[SLICES["scale"]] = 1.0
    return packed


def _first_channel(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 2 else picture[..., 0]


def _resize(picture: np.ndarray, side: int) -> np.ndarray:
    if picture.shape[0] == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
