"""Video files: h264 in mp4, as every player reads it."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files


def write_video(
    path: str | os.PathLike,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    frames_per_second: float,
    quality: int = 18,
) -> int:
    """Writes RGB frames as an mp4 (h264, yuv420p) and returns their number.

    Args:
        frames: as `open_video` takes them, one at a time.
        quality: x264's constant rate factor; 18 is hard to tell from the original.

    Raises:
        UserError: as of open_video.
    """
    count = 0
    with open_video(path, frames_per_second, quality) as add:
        for frame in frames:
            add(frame)
            count += 1
    return count


@contextlib.contextmanager
def open_video(
    path: str | os.PathLike, frames_per_second: float, quality: int = 18
) -> Iterator[Callable[[UInt8[np.ndarray, "h w 3"]], None]]:
    """Gives a function that appends a frame; the file appears at the end, when it is whole.

    Frames have one size; an odd side gains a repeated row or column, as the format needs even
    ones.

    Raises:
        UserError: no frames, no room on the disk, or a name that does not end in .mp4.
    """
    import av

    if not str(path).lower().endswith(".mp4"):
        raise UserError(f"{path}: videos are written as mp4; give a name that ends in .mp4.")
    with files.replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
                stream = None

                def add(frame: UInt8[np.ndarray, "h w 3"]) -> None:
                    nonlocal stream
                    if stream is None:
                        stream = _add_stream(container, frame, frames_per_second, quality)
                    picture = av.VideoFrame.from_ndarray(_even(frame), format="rgb24")
                    container.mux(stream.encode(picture))

                yield add
                if stream is None:
                    raise UserError(f"{path} was not written: there are no frames to show.")
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def _add_stream(container, frame: np.ndarray, frames_per_second: float, quality: int):
    height, width = frame.shape[:2]
    rate = Fraction(frames_per_second).limit_denominator(1001)
    stream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(quality), "preset": "fast"}
    return stream


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)
