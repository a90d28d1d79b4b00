"""What is compared: ways to an avatar, and to its images, behind one interface."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from invertavatar_jax import frames, inversion, networks
from invertavatar_jax.avatar import Avatar, Model, Observation
from invertavatar_jax.metrics import baselines
from invertavatar_jax.types import Camera

AT_ONCE = 4  # driven frames per call


class System(NamedTuple):
    """A method under test. It may read a driving frame's coefficients, never its picture.

    Attributes:
        about: what it is, in the paper's words where it has some.
        reconstruct: frames of one person, in order -> whatever `render` takes.
        render: that, driving frames -> images [n h w 3] in [-1, 1].
    """

    about: str
    reconstruct: Callable[[Sequence[Observation]], Any]
    render: Callable[[Any, Sequence[Observation]], Float[np.ndarray, "n h w 3"]]


class Bench(NamedTuple):
    """A model, and its head prepared once for all systems that use it."""

    model: Model
    geometry: frames.Geometry

    def prepare(self, seen: Sequence[Observation]) -> list[frames.Prepared]:
        """Frames as the networks read them."""
        make = lambda one: frames.Prepared(*frames.make_frame(self.geometry, one), one.identity)
        return [make(one) for one in seen]

    def render(self, avatar: Avatar, driving: Sequence[Observation]) -> np.ndarray:
        """Images of the driving frames, some at once; the last call is filled up."""
        images = []
        for begin in range(0, len(driving), AT_ONCE):
            some = driving[begin : begin + AT_ONCE]
            filled = [*some, *[some[-1]] * (AT_ONCE - len(some))]
            stack = lambda name, filled=filled: np.stack([getattr(one, name) for one in filled])
            cameras = zip(*[one.camera for one in filled], strict=True)
            camera = Camera(*map(np.stack, cameras))
            drives = self.model.drives(avatar, stack("expression"), stack("gaze_rad"), camera)
            images.append(np.asarray(self.model.draw(avatar, drives))[: len(some)])
        return np.concatenate(images)


def open_bench(model: Model) -> Bench:
    """Prepares the model's head."""
    return Bench(model, frames.geometry(model.head, model.sizes))


def ours(bench: Bench) -> System:
    """All frames, folded one after the other."""
    reconstruct = lambda seen: bench.model.reconstruct(bench.prepare(seen))
    return System("recurrent aggregation of all frames", reconstruct, bench.render)


def first_frame(bench: Bench) -> System:
    """The avatar of the first frame alone, whatever their number."""
    reconstruct = lambda seen: bench.model.reconstruct(bench.prepare(seen[:1]))
    return System("the first frame alone", reconstruct, bench.render)


def coarse(bench: Bench) -> System:
    """Latent inversion of the first frame alone. Source: paper 4.3.2."""

    def reconstruct(seen: Sequence[Observation]) -> Avatar:
        stream = bench.model.observe(None, bench.prepare(seen[:1])[0])
        return bench.model.finish(stream)._replace(maps=stream.memory.coarse)

    return System("without the second stage", reconstruct, bench.render)


def averaged(bench: Bench, window: int) -> System:
    """The mean of the canonical features of windows, each reconstructed alone.

    Source: paper 4.2.3 (windows of one frame), 4.3.1 and B.1 (fixed windows).
    """
    sizes, weights = bench.model.sizes, bench.model.weights
    nets = networks.build(sizes)
    fold = jax.jit(
        lambda weights, seen: inversion.reconstruct_windows(nets, weights, sizes, seen, window)
    )

    def reconstruct(seen: Sequence[Observation]) -> Avatar:
        made = bench.prepare(seen)
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *[one.frame for one in made])
        memory, maps = fold(weights, stacked)
        background = made[0].background if sizes.departures.background else None
        return Avatar(memory.w_plus, maps, memory.colours, background, made[0].identity)

    about = "each frame alone" if window == 1 else f"windows of {window} frames"
    return System(f"{about}, features averaged", reconstruct, bench.render)


def textured_mesh(bench: Bench) -> System:
    """The sources' colours on the driven mesh, over the first source frame; no network."""
    head, deform = bench.model.head, bench.geometry.deform

    def reconstruct(seen: Sequence[Observation]) -> tuple[Any, Any, Any]:
        made = [one.frame for one in bench.prepare(seen)]
        return baselines.texture(made), made[0].image[0], seen[0].identity

    def render(made: tuple[Any, Any, Any], driving: Sequence[Observation]) -> np.ndarray:
        colours, behind, identity = made
        batch = lambda x: np.asarray(x)[None]

        def draw(one: Observation) -> np.ndarray:
            posed, _ = deform(batch(identity), batch(one.expression), batch(one.gaze_rad))
            return baselines.draw_textured_mesh(head, colours, posed[0], one.camera, behind)

        return np.stack([draw(one) for one in driving])

    return System("the sources' colours on the mesh", reconstruct, render)
