"""The paper on one page: frames of a person -> an avatar -> images. What users import.

model = load()                              # the bundled weights
track = fit("clip.mp4")                     # expression, gaze, camera per frame
avatar = model.reconstruct(track)
image = model.render(avatar, expression, camera)
"""

import copy
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import frames, generator, inversion, networks, settings
from invertavatar_jax import weights as weights_files
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import morphable
from invertavatar_jax.generator import Colours, Features
from invertavatar_jax.inversion import Memory
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model as Sizes
from invertavatar_jax.types import Camera, Drive, FaceFit, Frame

ONE_SHOT = "This one-shot model makes an avatar of exactly one frame"


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


class Steps(NamedTuple):
    """The compiled steps of a model; a chunk is a list of frames, keys may be None."""

    begin: Callable[..., Memory]  # weights, chunk, key
    fold: Callable[..., Memory]  # weights, memory (used up), chunk, key
    finish: Callable[..., Features]  # weights, memory
    draw: Callable[..., Float[Array, "b h w 3"]]  # weights, avatar, drives, key


def render_driven(
    nets: networks.Networks, weights: Weights, sizes: Sizes, avatar: Avatar, drives: Drive, key=None
) -> generator.Rendered:
    """All that generator.render says of one avatar under b drives."""
    count = drives.camera.intrinsics.shape[0]
    many = lambda x: jnp.broadcast_to(x, (count, *x.shape[1:]))
    # the identity has gone into the drives
    made = jax.tree.map(many, avatar._replace(identity=None))
    return generator.render(
        nets,
        part(weights, "generator"),
        sizes,
        made.w_plus,
        made.maps,
        drives,
        colours=made.colours,
        background=made.background,
        key=key,
        even_fine=True,
    )


def make_steps(sizes: Sizes, *, released: bool = False, compute: str = "float32") -> Steps:
    """Steps that compile when first used.

    Args:
        compute: one of settings.COMPUTE.
        released: batch normalisation and ray limits of the released evaluation.
    """
    if compute not in settings.COMPUTE:
        known = ", ".join(settings.COMPUTE)
        raise ValueError(f"compute: got {compute!r}, expected one of {known}")
    features, products = settings.COMPUTE[compute]
    nets = networks.build(sizes, batch_statistics=released, compute=features)

    def begin(weights, chunk: list[Frame], key) -> Memory:
        return fold(weights, inversion.start(nets, weights, sizes, chunk[0]), chunk, key)

    def fold(weights, memory: Memory, chunk: list[Frame], key) -> Memory:
        frames = jax.tree.map(lambda *x: jnp.stack(x), *chunk)
        limits = inversion.chunk_limits(sizes, frames) if released else None
        return inversion.fold_chunk(nets, weights, sizes, memory, frames, limits=limits, key=key)

    def draw(weights, avatar: Avatar, drives: Drive, key) -> Float[Array, "b h w 3"]:
        image = render_driven(nets, weights, sizes, avatar, drives, key).image
        return jnp.clip(image, -1.0, 1.0)

    def finish(weights, memory: Memory) -> Features:
        return inversion.finish(nets, weights, sizes, memory)

    exact = functools.partial(_with_precision, products)
    return Steps(
        jax.jit(exact(begin)),
        # offsets and modulation are not read again, but written over
        jax.jit(exact(fold), donate_argnums=1, keep_unused=True),
        jax.jit(exact(finish)),
        jax.jit(exact(draw)),
    )


def _with_precision(precision: str, function: Callable) -> Callable:
    """The function, traced with that precision of float32 matrix products."""

    @functools.wraps(function)
    def traced(*args):
        with jax.default_matmul_precision(precision):
            return function(*args)

    return traced


class Model:
    """Networks, their weights and a head model, compiled on first use.

    Nothing is random unless a `key` is given, which adds the released system's randomness:
    jittered depths, and random importance samples where frames are compared.
    """

    def __init__(
        self,
        sizes: Sizes,
        weights: Weights,
        head: morphable.HeadModel | None = None,
        *,
        compute: str = "float32",
    ):
        """Keeps the weights on the default device.

        Args:
            compute: float32, bfloat16, or tensorfloat32: float32 with products as short as a
                GPU has them by default. Weights and results are float32 in all.
        """
        self.sizes = sizes
        self.head = morphable.load_head_model() if head is None else head
        self.weights = jax.device_put(weights)
        self._geometry = frames.geometry(self.head, sizes)
        self._compute = compute
        self._steps = make_steps(sizes, compute=compute)
        self._released_steps = make_steps(sizes, released=True, compute=compute)

    def preview(self) -> "Model":
        """The same networks, faster and less exact: fewer rays, and fewer samples on each.

        It shows this model's avatars.
        """
        other = copy.copy(self)
        other.sizes = settings.preview(self.sizes)
        other._steps = make_steps(other.sizes, compute=self._compute)
        return other

    def observe(
        self,
        stream: Stream | None,
        seen: Observation | frames.Prepared,
        *,
        key: jax.Array | None = None,
    ) -> Stream:
        """Folds one more frame in; None starts a new person. The old stream is used up.

        Raises:
            UserError: a second frame, for a one-shot model.
        """
        if stream is not None and self.sizes.one_shot:
            raise UserError(f"{ONE_SHOT}, and has one: give one photo, or --frames 1.")
        return self._observe(self._steps, stream, [seen], key)

    def _observe(
        self,
        steps: Steps,
        stream: Stream | None,
        seen: Sequence[Observation | frames.Prepared],
        key: jax.Array | None,
    ) -> Stream:
        """Folds a chunk of frames in."""
        made = [self._prepare(one) for one in seen]
        chunk = [one.frame for one in made]
        if stream is not None:
            return stream._replace(memory=steps.fold(self.weights, stream.memory, chunk, key))
        fill = made[0].background if self.sizes.departures.background else None
        memory = steps.begin(self.weights, chunk, key)
        return Stream(memory, fill, jnp.asarray(made[0].identity))

    def _prepare(self, seen: Observation | frames.Prepared) -> frames.Prepared:
        if isinstance(seen, frames.Prepared):
            return seen
        return frames.Prepared(*frames.make_frame(self._geometry, seen), seen.identity)

    def finish(self, stream: Stream) -> Avatar:
        """The avatar that the frames so far give; the stream can go on."""
        memory = stream.memory
        maps = self._steps.finish(self.weights, memory)
        copied = jax.tree.map(jnp.copy, (memory.w_plus, memory.colours))  # fold donates them
        return Avatar(copied[0], maps, copied[1], stream.background, stream.identity)

    def reconstruct(
        self,
        track: FaceFit | Sequence[frames.Prepared],
        which: Iterable[int] | None = None,
        *,
        released: bool = False,
        key: jax.Array | None = None,
    ) -> Avatar:
        """Frames of a track -> avatar: `observe` folded over them, then `finish`.

        Args:
            track: also frames that are prepared already; `which` is not for them.
            which: frames by number; None takes all.
            released: folds as the released evaluation does, in its chunks of four
                (inversion.released_chunks) and normalising with their own statistics (SPEC
                section 9.6); a one-shot model is evaluated without either.

        Raises:
            UserError: no frame shows a face, or several do and the model is one-shot.
        """
        seen = observations(track, which) if isinstance(track, FaceFit) else track
        if self.sizes.one_shot and len(seen) > 1:
            raise UserError(f"{ONE_SHOT}, got {len(seen)}: give one photo, or --frames 1.")
        released = released and not self.sizes.one_shot
        steps = self._released_steps if released else self._steps
        single = np.arange(len(seen))[:, None]
        stream = None
        for i, chunk in enumerate(inversion.released_chunks(len(seen)) if released else single):
            own = None if key is None else jax.random.fold_in(key, i)
            stream = self._observe(steps, stream, [seen[j] for j in chunk], own)
        assert stream is not None  # observations raises when there are none
        return self.finish(stream)

    def render(
        self,
        avatar: Avatar,
        expression: Float[Array, " e"],
        camera: Camera,
        gaze_rad: Float[Array, " 4"] | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Float[Array, "h w 3"]:
        """One image in [-1, 1] of the avatar with that expression, seen by that camera.

        Args:
            expression: in [0, 1], order of head.expression_names.
            gaze_rad: see FaceFit; None looks ahead.
        """
        gaze = np.zeros(4, np.float32) if gaze_rad is None else gaze_rad
        one = lambda x: np.asarray(x)[None]
        drive = self.drives(avatar, one(expression), one(gaze), Camera(*map(one, camera)))
        return self.draw(avatar, drive, key=key)[0]

    def drives(
        self,
        avatar: Avatar,
        expression: Float[Array, "b e"],
        gaze_rad: Float[Array, "b 4"],
        camera: Camera,
    ) -> Drive:
        """What `draw` reads of the avatar's head with those expressions, seen by those cameras."""
        identity = np.broadcast_to(avatar.identity, (len(expression), *avatar.identity.shape))
        return frames.make_drives(self._geometry, identity, expression, gaze_rad, camera)

    def draw(
        self, avatar: Avatar, drives: Drive, *, key: jax.Array | None = None
    ) -> Float[Array, "b h w 3"]:
        """Images in [-1, 1] of the avatar as b drives say."""
        return self._steps.draw(self.weights, avatar, drives, key)


def load(path: str | os.PathLike | None = None, *, compute: str = "float32") -> Model:
    """A model with the weights of a file; None: those of the package.

    Args:
        compute: as of Model.

    Raises:
        UserError: the file is missing, damaged or foreign.
    """
    arrays, sizes, _ = weights_files.load(path)
    return Model(sizes, arrays, compute=compute)
