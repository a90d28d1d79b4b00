"""Photos, folders of photos and videos as one kind of thing: frames that can be read again."""

import fractions
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from invertavatar_jax.errors import UserError

PHOTO_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))
VIDEO_ENDINGS = frozenset((".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"))
SMALLEST_SIDE = 32  # pixels; below it no detector finds a face
# Containers may count a frame or two that an edit list hides from the decoder.
MISSING_FRAMES_ALLOWED = 2

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]


class SourceError(UserError):
    """Input that cannot be used; the message names the file, what is wrong and what to do."""


class Source(NamedTuple):
    """Frames that can be iterated any number of times, decoded anew each time."""

    name: str
    frames: Callable[[], Iterator[Picture]]  # RGB; raises SourceError
    frames_per_second: float  # 0 for photos
    is_video: bool
    count: int | None  # as announced by the container; None where it does not say


Given: TypeAlias = str | pathlib.Path | np.ndarray


def open_source(given: Given | Sequence[Given], *, allow_truncated: bool = False) -> Source:
    """Opens a photo, a video, a folder of photos, an array, or a list of photos.

    Args:
        given: path(s), or uint8 RGB arrays of shape (h, w, 3) or (t, h, w, 3).
        allow_truncated: read a broken video as far as it goes, with a warning.

    Raises: SourceError, also while frames are being read. A broken video gives every frame
        that can be read before it raises.
    """
    if isinstance(given, np.ndarray):
        given = list(given) if given.ndim == 4 else [given]
    if not isinstance(given, str | pathlib.Path):
        return _photos(list(given), "list of photos")
    path = pathlib.Path(given)
    if path.is_dir():
        return _photos(_folder(path), str(path))
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; check the path")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes); copy or download it again")
    if path.suffix.lower() in PHOTO_ENDINGS or not _opens_as_video(path):
        return _photos([path], str(path))
    return _video(path, allow_truncated)


def read_photo(path: str | pathlib.Path) -> Picture:
    """Reads one photo upright: EXIF rotation applied, alpha laid on white, 16 bits cut to 8.

    Raises: SourceError.
    """
    path = pathlib.Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                picture = _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; check the path") from None
    except UnidentifiedImageError:
        raise SourceError(
            f"{path}: expected a photo or a video, found neither; "
            "convert it to JPEG, PNG, WebP or MP4"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; scale the photo down"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise SourceError(f"{path}: the photo is damaged ({error}); save it again") from error
    return _large_enough(picture, str(path))


def _to_rgb(image: Image.Image) -> Picture:
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        grey = np.asarray(image).astype(np.float64)
        return _grey_to_rgb(grey / 257.0)
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, np.float64))
        return _grey_to_rgb(grey * (255.0 if grey.max(initial=0.0) <= 1.0 else 1.0))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(grey: np.ndarray) -> Picture:
    levels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _large_enough(picture: Picture, name: str) -> Picture:
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise SourceError(
            f"{name}: {width} x {height} pixels; expected at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}: use a larger picture"
        )
    return picture


def _from_array(array: np.ndarray, name: str) -> Picture:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise SourceError(
            f"{name}: expected uint8 RGB of shape (h, w, 3), "
            f"found {array.dtype} of shape {array.shape}"
        )
    return _large_enough(array, name)


def _natural(path: pathlib.Path) -> list:
    """Sorts img2 before img10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _folder(path: pathlib.Path) -> list[Given]:
    files = [f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")]
    photos = sorted((f for f in files if f.suffix.lower() in PHOTO_ENDINGS), key=_natural)
    if not photos:
        found = "an empty folder" if not files else f"{len(files)} other files"
        raise SourceError(
            f"{path}: expected a folder of photos (jpg, png, webp), found {found}; "
            "name a folder with photos, or one video file"
        )
    return list(photos)


def _photos(items: list[Given], name: str) -> Source:
    if not items:
        raise SourceError(f"{name}: zero photos; give at least one")

    def frames() -> Iterator[Picture]:
        for i, item in enumerate(items):
            if isinstance(item, np.ndarray):
                yield _from_array(item, f"array {i}")
            else:
                yield read_photo(item)

    return Source(name, frames, 0.0, False, len(items))


def _opens_as_video(path: pathlib.Path) -> bool:
    if path.suffix.lower() in VIDEO_ENDINGS:
        return True
    try:
        Image.open(path).close()
    except UnidentifiedImageError:
        try:
            with av.open(str(path)) as container:
                return bool(container.streams.video)
        except (av.FFmpegError, OSError):
            return False
    except OSError:
        return False
    return False


def _open_container(path: pathlib.Path):
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise SourceError(
            f"{path}: the video cannot be opened ({getattr(error, 'strerror', error)}): "
            "0 frames are readable; it is cut short or not a video: copy or export it again"
        ) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path}: expected a video, found no picture track; give a video file")
    return container


def _announced(container, stream) -> int | None:
    """How many frames the container says it has."""
    if stream.frames:
        return stream.frames
    rate = stream.average_rate or stream.guessed_rate
    if rate and stream.duration and stream.time_base:
        return int(stream.duration * stream.time_base * rate)
    if rate and container.duration:
        return int(fractions.Fraction(container.duration, av.time_base) * rate)
    return None


def _video(path: pathlib.Path, allow_truncated: bool) -> Source:
    with _open_container(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        announced = _announced(container, stream)

    def frames() -> Iterator[Picture]:
        readable, failure = 0, None
        with _open_container(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    yield _large_enough(_upright(frame, stream), str(path))
                    readable += 1
            except av.FFmpegError as error:
                failure = error
        _check_complete(path, readable, announced, failure, allow_truncated)

    return Source(str(path), frames, rate, True, announced)


def _check_complete(path, readable, announced, failure, allow_truncated) -> None:
    if readable == 0:
        raise SourceError(f"{path}: zero frames could be read from the video; export it again")
    short = announced is not None and readable < announced - MISSING_FRAMES_ALLOWED
    if not short and failure is None:
        return
    of = f" of {announced}" if announced else ""
    message = f"{path}: the video is cut short: {readable}{of} frames are readable"
    if not allow_truncated:
        raise SourceError(f"{message}; export it again, or allow truncated videos to use them")
    warnings.warn(f"{message}; using these", stacklevel=3)


def _upright(frame: av.VideoFrame, stream) -> Picture:
    """Square pixels, and the way up that the camera recorded."""
    aspect = getattr(frame, "sample_aspect_ratio", None)
    aspect = aspect or stream.sample_aspect_ratio
    width = frame.width
    if aspect and aspect != 1:
        width = round(frame.width * float(aspect))
    picture = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns))
