"""The paper on one page: frames of a person -> an avatar -> images. What users import.

model = load()                              # the bundled weights
track = fit("clip.mp4")                     # expression, gaze, camera per frame
avatar = model.reconstruct(track)
image = model.render(avatar, expression, camera)
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import frames, generator, inversion, networks
from invertavatar_jax import weights as weights_files
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import morphable
from invertavatar_jax.generator import Colours, Features
from invertavatar_jax.inversion import Memory
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model as Sizes
from invertavatar_jax.types import Camera, FaceFit, Frame


class Avatar(NamedTuple):
    """A person, ready to be driven. Batch axis b = 1."""

    w_plus: Float[Array, "b l d"]
    maps: Features
    colours: Colours | None
    background: Float[Array, "b h w 3"] | None
    identity: Float[Array, " k"]  # of the head model


class Stream(NamedTuple):
    """The state of `observe`: constant in size, however many frames it has seen."""

    memory: Memory
    background: Float[Array, "b h w 3"] | None
    identity: Float[Array, " k"]


class Observation(NamedTuple):
    """One tracked frame, as `observe` takes it."""

    image: np.ndarray  # h w 3 uint8
    matte: np.ndarray  # h w uint8
    identity: np.ndarray  # k
    expression: np.ndarray  # e
    gaze_rad: np.ndarray  # 4
    camera: Camera


def observations(track: FaceFit, which: Iterable[int] | None = None) -> list[Observation]:
    """The frames of a track that show a face; `which` picks frames by number.

    Raises:
        UserError: none of them shows a face.
    """
    wanted = range(len(track.has_face)) if which is None else which
    found = [
        Observation(
            track.image[i],
            track.matte[i],
            track.identity,
            track.expression[i],
            track.gaze_rad[i],
            jax.tree.map(lambda x, i=i: x[i], track.camera),
        )
        for i in wanted
        if track.has_face[i]
    ]
    if not found:
        raise UserError("No face was found in any of the frames: give a photo that shows one.")
    return found


class Model:
    """Networks, their weights and a head model, compiled on first use."""

    def __init__(self, sizes: Sizes, weights: Weights, head: morphable.HeadModel | None = None):
        """Keeps the weights on the default device."""
        self.sizes = sizes
        self.head = morphable.load_head_model() if head is None else head
        self.weights = jax.device_put(weights)
        nets = networks.build(sizes)
        self._geometry = frames.geometry(self.head, sizes)

        def begin(weights, frame: Frame) -> Memory:
            return fold(weights, inversion.start(nets, weights, sizes, frame), frame)

        def fold(weights, memory: Memory, frame: Frame) -> Memory:
            chunk = jax.tree.map(lambda x: x[None], frame)
            return inversion.fold_chunk(nets, weights, sizes, memory, chunk)

        def draw(weights, avatar: Avatar, drive) -> Float[Array, "b h w 3"]:
            return generator.render(
                nets,
                part(weights, "generator"),
                sizes,
                avatar.w_plus,
                avatar.maps,
                drive,
                colours=avatar.colours,
                background=avatar.background,
            )

        self._begin = jax.jit(begin)
        self._fold = jax.jit(fold, donate_argnums=1)
        self._finish = jax.jit(
            lambda weights, memory: inversion.finish(nets, weights, sizes, memory)
        )
        self._draw = jax.jit(draw)

    def observe(self, stream: Stream | None, seen: Observation) -> Stream:
        """Folds one more frame in; None starts a new person. The old stream is used up."""
        frame, background = frames.make_frame(self._geometry, seen)
        if stream is None:
            fill = background if self.sizes.departures.background else None
            return Stream(self._begin(self.weights, frame), fill, jnp.asarray(seen.identity))
        return stream._replace(memory=self._fold(self.weights, stream.memory, frame))

    def finish(self, stream: Stream) -> Avatar:
        """The avatar that the frames so far give; the stream can go on."""
        memory = stream.memory
        maps = self._finish(self.weights, memory)
        copied = jax.tree.map(jnp.copy, (memory.w_plus, memory.colours))  # fold donates them
        return Avatar(copied[0], maps, copied[1], stream.background, stream.identity)

    def reconstruct(self, track: FaceFit, which: Iterable[int] | None = None) -> Avatar:
        """Frames of a track -> avatar: `observe` folded over them, then `finish`.

        Raises:
            UserError: no frame shows a face.
        """
        stream = None
        for seen in observations(track, which):
            stream = self.observe(stream, seen)
        assert stream is not None  # observations raises when there are none
        return self.finish(stream)

    def render(
        self,
        avatar: Avatar,
        expression: Float[Array, " e"],
        camera: Camera,
        gaze_rad: Float[Array, " 4"] | None = None,
    ) -> Float[Array, "h w 3"]:
        """One image in [-1, 1] of the avatar with that expression, seen by that camera.

        Args:
            expression: in [0, 1], order of head.expression_names.
            gaze_rad: see FaceFit; None looks ahead.
        """
        gaze = np.zeros(4, np.float32) if gaze_rad is None else gaze_rad
        drive = frames.make_drive(self._geometry, avatar.identity, expression, gaze, camera)
        return jnp.clip(self._draw(self.weights, avatar, drive).image[0], -1.0, 1.0)


def load(path: str | os.PathLike | None = None) -> Model:
    """A model with the weights of a file; None: those of the package.

    Raises:
        UserError: the file is missing, damaged or foreign.
    """
    arrays, sizes, _ = weights_files.load(path)
    return Model(sizes, arrays)
