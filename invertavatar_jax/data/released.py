"""The released system's layout of a data set on disk: writing clips to it and reading it.

    images512x512/<clip>/<frame>.png                 RGB
    images512x512/dataset.json                       {"labels": [["clip/frame.png", 25 numbers]]}
    images512x512/dataset_realcam.json               the same
    orthRender256x256_face_eye/<clip>/<frame>.npy    float16 256 256 4: u, v, mask, visible
    coeffs/<clip>/<frame>.npy                        float32 610: see fit/faceverse.py
    uvRender256x256/<clip>/<frame>.npy               float16 256 256 3: x, y in [-1, 1], visible
    uvRender256x256/<clip>/<frame>_uvgttex.png       the picture in UV space, white where unseen
    headmasks512x512/<clip>/<frame>.png              255 = head and hair
    fgmasks512x512/<clip>/<frame>.png                255 = person
    lms_counter512x512_newF/<clip>/<frame>.png       contours of the face; may be missing

A data set holds one of the two kinds of masks; photos may have `orthRender256x256_face`.

Source: TRAINING section E, SPEC section 7. Deviation: written coefficients are those of the
head model in use, padded with zeros, with eyes as left pitch, left yaw, right pitch, right yaw;
there are no landmark pictures.
"""

import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.fit.faceverse import COUNT, SLICES

IMAGES, RASTERS, COEFFICIENTS = "images512x512", "orthRender256x256_face_eye", "coeffs"
UVS, HEADS, PERSONS = "uvRender256x256", "headmasks512x512", "fgmasks512x512"
CONTOURS = "lms_counter512x512_newF"  # landmark pictures, see data/landmark_map.py
RASTERS_WITHOUT_EYES = "orthRender256x256_face"  # of photos
LABELS = ("dataset.json", "dataset_realcam.json")
SIDE = 256  # of rasters and UV maps
BLOCK = 8  # frames whose maps are drawn at once


class Record(NamedTuple):
    """One frame as it lies on disk."""

    name: str  # clip/frame
    image: UInt8[np.ndarray, "h w 3"]
    camera: Float[np.ndarray, "25"]
    raster: Float[np.ndarray, "r r 4"]  # rows grow with +y
    coefficients: Float[np.ndarray, "610"]
    uv_xy_visible: Float[np.ndarray, "u u 3"]  # rows grow with v
    uv_rgb: UInt8[np.ndarray, "u u 3"]
    head_matte: UInt8[np.ndarray, "h w"] | None  # None where the data set has none
    matte: UInt8[np.ndarray, "h w"] | None
    contours: UInt8[np.ndarray, "h w 3"] | None = None


class Shown(Protocol):
    """t tracked or drawn frames of one person."""

    @property
    def image(self) -> UInt8[np.ndarray, "t h w 3"]: ...
    @property
    def matte(self) -> UInt8[np.ndarray, "t h w"]: ...  # 255 = person
    @property
    def head_matte(self) -> UInt8[np.ndarray, "t h w"] | None: ...  # 255 = head and hair
    @property
    def identity(self) -> Float[np.ndarray, " k"]: ...
    @property
    def expression(self) -> Float[np.ndarray, "t e"]: ...
    @property
    def gaze_rad(self) -> Float[np.ndarray, "t 4"]: ...
    @property
    def camera(self) -> Float[np.ndarray, "t 25"]: ...


def write_clip(root: Path, name: str, clip: Shown, geometry: frames.Geometry) -> None:
    """Writes one clip's files; `write_labels` completes the data set.

    Args:
        clip: without a head matte it gets no `headmasks512x512`.
        geometry: of the head and the paper's preset: it gives rasters and UV maps.
    """
    count = len(clip.image)
    block = min(BLOCK, 1 << (count - 1).bit_length())  # few sizes: each is compiled
    for first in range(0, count, block):
        _write_frames(root, name, clip, np.arange(first, first + block), geometry)


def _write_frames(
    root: Path, name: str, clip: Shown, numbers: Int[np.ndarray, " n"], geometry: frames.Geometry
) -> None:
    """Writes the frames of these numbers; numbers beyond the last frame fill up a block."""
    rows = numbers.clip(max=len(clip.image) - 1)
    side = geometry.sizes.renderer.image_resolution
    camera = from_vector(clip.camera[rows])
    identity = np.tile(clip.identity, (len(rows), 1))
    known = (identity, clip.expression[rows], clip.gaze_rad[rows], camera)
    seen, _ = frames.make_frames(geometry, clip.image[rows], clip.matte[rows], *known)
    raster = np.asarray(seen.drive.raster)
    raster = np.concatenate([raster, raster[..., 2:]], -1).astype(np.float16)
    uv = np.concatenate([seen.uv_xy, seen.uv_visible], -1).astype(np.float16)
    uv_rgb = np.round((np.asarray(seen.uv_rgb) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    for place, number in enumerate(numbers[numbers == rows]):
        frame = f"{name}/{number:05d}"
        coefficients = pack(clip.identity, clip.expression[number], clip.gaze_rad[number])
        _save(root / RASTERS / f"{frame}.npy", raster[place])
        _save(root / RASTERS / f"{frame}_coeff.npy", coefficients)
        _save(root / COEFFICIENTS / f"{frame}.npy", coefficients)
        _save(root / UVS / f"{frame}.npy", uv[place])
        _save(root / UVS / f"{frame}_uvgttex.png", uv_rgb[place])
        _save(root / IMAGES / f"{frame}.png", resize_picture(clip.image[number], side))
        if clip.head_matte is not None:
            _save(root / HEADS / f"{frame}.png", resize_picture(clip.head_matte[number], side))
        _save(root / PERSONS / f"{frame}.png", resize_picture(clip.matte[number], side))
        _save(root / IMAGES / f"{frame}.camera.npy", clip.camera[number])


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
            self.labels = [(str(file), camera) for file, camera in _read_labels(path)]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'{path}: expected {{"labels": [[file, 25 numbers], ...]}}, found {error}: '
                "point to the folder that holds images512x512"
            ) from error
        self._rasters = RASTERS if (self.root / RASTERS).is_dir() else RASTERS_WITHOUT_EYES
        self._has = {kind: (self.root / kind).is_dir() for kind in (HEADS, PERSONS, CONTOURS)}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> Record:
        """One frame.

        Raises:
            UserError: one of its files is missing, damaged or of another shape.
        """
        file, name, camera = self._label(number)
        image = _read_picture(self.root / IMAGES / file, None)
        uvs = self.root / UVS
        picture = lambda kind: _read_picture(self.root / kind / f"{name}.png", image.shape[0])
        matte = lambda kind: picture(kind)[..., 0] if self._has[kind] else None
        return Record(
            name,
            image,
            camera,
            _read_array(self.root / self._rasters / f"{name}.npy", (SIDE, SIDE, 4)),
            _read_array(self.root / COEFFICIENTS / f"{name}.npy", (COUNT,)),
            _read_array(uvs / f"{name}.npy", (SIDE, SIDE, 3)),
            _read_picture(uvs / f"{name}_uvgttex.png", SIDE),
            matte(HEADS),
            matte(PERSONS),
            picture(CONTOURS) if self._has[CONTOURS] else None,
        )

    def driving(self, number: int) -> Record:
        """As indexing, for frames that only drive: without UV maps, which they may lack."""
        file, name, camera = self._label(number)
        nothing = np.zeros((0, 0, 3))
        return Record(
            name,
            _read_picture(self.root / IMAGES / file, None),
            camera,
            _read_array(self.root / self._rasters / f"{name}.npy", (SIDE, SIDE, 4)),
            _read_array(self.root / COEFFICIENTS / f"{name}.npy", (COUNT,)),
            nothing.astype(np.float32),
            nothing.astype(np.uint8),
            None,
            None,
        )

    def _label(self, number: int) -> tuple[str, str, np.ndarray]:
        """File, clip/frame and camera of a frame."""
        file, camera = self.labels[number]
        if not isinstance(camera, list) or len(camera) != 25:
            count = len(camera) if isinstance(camera, list) else "no"
            raise UserError(f"{file}: its label has {count} numbers, expected 25")
        return file, file.rsplit(".", 1)[0], np.array(camera, np.float32)


def _read_labels(path: Path) -> list:
    labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    if not isinstance(labels, list):
        raise TypeError("no list of labels")
    return labels


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}, which the released layout has.") from error
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged, or no array of numpy.save: copy it again.") from error
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype.kind != "f":
        shown = f"{found.dtype} of shape {found.shape}" if hasattr(found, "shape") else "an archive"
        raise UserError(f"{path} holds {shown}; expected real numbers of shape {shape}.")
    return found.astype(np.float32)


def _read_picture(path: Path, side: int | None) -> UInt8[np.ndarray, "h w 3"]:
    """A square RGB picture; grey ones repeat their channel. Sides are checked where given."""
    try:
        with Image.open(path) as opened:
            picture = np.asarray(opened.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"There is no picture {path}, which the released layout has.") from error
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path} is a damaged picture: copy it again.") from error
    wanted = picture.shape[1] if side is None else side
    if picture.shape[:2] != (wanted, wanted):
        size = f"{picture.shape[1]} x {picture.shape[0]}"
        raise UserError(f"{path} is {size} pixels; expected {wanted} x {wanted}.")
    return picture


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


def resize_picture(picture: UInt8[np.ndarray, "..."], side: int) -> UInt8[np.ndarray, "..."]:
    """A square picture at `side` pixels by Lanczos' kernel; one of that side stays as it is."""
    if picture.shape[0] == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
