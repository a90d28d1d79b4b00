"""Many images of an avatar, in order: while one is used the next ones are computed."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.motion import Motion
from invertavatar_jax.settings import Model as Sizes
from invertavatar_jax.types import Camera, Drive

if TYPE_CHECKING:
    from invertavatar_jax.avatar import Avatar, Model

AHEAD = 2  # calls that are under way while the results of an earlier one are used
MOST_AT_ONCE = 8
# Memory that drawing takes: measured 0.4 KiB (small) to 4 KiB (paper) for a pixel of the image.
BYTES_PER_PIXEL = 4096
CPU_BYTES, ACCELERATOR_BYTES = 2**29, 2**33


def film(model: "Model", avatar: "Avatar", moves: Motion) -> Iterator[Float[np.ndarray, "h w 3"]]:
    """Images in [-1, 1] of the avatar doing what each frame of a motion says.

    Several are drawn in one call where they are small: see frames_at_once.
    """
    count, size = len(moves.expression), frames_at_once(model.sizes)
    size = min(size, count)

    def drives() -> Iterator[tuple[Drive, int]]:
        for first in range(0, count, size):
            # the last call draws the last frame again and again, as another size would compile
            which = np.minimum(np.arange(first, first + size), count - 1)
            camera = Camera(*(np.asarray(values)[which] for values in moves.camera))
            drive = model.drives(avatar, moves.expression[which], moves.gaze_rad[which], camera)
            yield drive, min(size, count - first)

    yield from show(model, avatar, drives())


def show(
    model: "Model", avatar: "Avatar", drives: Iterable[tuple[Drive, int]]
) -> Iterator[Float[np.ndarray, "h w 3"]]:
    """Images in [-1, 1] of the avatar, the first n of each (drives, n).

    A device computes while Python goes on, so drives are made and results used meanwhile.
    """
    under_way: deque[tuple[Array, int]] = deque()
    for drive, count in drives:
        under_way.append((model.draw(avatar, drive), count))
        if len(under_way) > AHEAD:
            yield from _finished(under_way.popleft())
    while under_way:
        yield from _finished(under_way.popleft())


def _finished(drawn: tuple[Array, int]) -> Sequence[np.ndarray]:
    images, count = drawn
    return list(np.asarray(images)[:count])


def frames_at_once(sizes: Sizes) -> int:
    """How many frames one call draws on the default device: a power of two up to eight."""
    bytes_of_one = BYTES_PER_PIXEL * sizes.renderer.image_resolution**2
    on_cpu = jax.default_backend() == "cpu"
    fitting = max(1, (CPU_BYTES if on_cpu else ACCELERATOR_BYTES) // bytes_of_one)
    return min(MOST_AT_ONCE, 1 << (fitting.bit_length() - 1))
