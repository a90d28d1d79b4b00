"""What is compared: ways to an avatar, and to its images, behind one interface."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import frames, inversion, networks, prior, settings
from invertavatar_jax.avatar import Avatar, Model, Observation, make_steps
from invertavatar_jax.fit import morphable
from invertavatar_jax.generator import Features, no_colours
from invertavatar_jax.inversion import Memory
from invertavatar_jax.metrics import baselines
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.types import Camera, Drive, Frame

AT_ONCE = 4  # driven frames per call
KEPT = 96  # prepared frames and drives; 5 MB each at the size `small`


class System(NamedTuple):
    """A method under test. It may read a driving frame's coefficients, never its picture.

    Attributes:
        about: what it is, in the paper's words where it has some.
        reconstruct: frames of one person, in order -> whatever `render` takes.
        render: that, driving frames -> images [n h w 3] in [-1, 1].
        most: how many of the frames it reads, the first ones; None: all of them.
    """

    about: str
    reconstruct: Callable[[Sequence[Observation]], Any]
    render: Callable[[Any, Sequence[Observation]], Float[np.ndarray, "n h w 3"]]
    most: int | None = None


class Preparation:
    """Frames and drives as models with one head and one set of sizes read them.

    The last ones are kept: systems take turns with the same frames of the same people.
    """

    def __init__(self, head: morphable.HeadModel, sizes: settings.Model):
        """Prepares the head, and what no aggregator or U-Net takes part in."""
        self.geometry = frames.geometry(head, sizes)
        self.draw = make_steps(sizes).draw
        nets = networks.build(sizes)

        @jax.jit
        def start(weights: Weights, frame: Frame) -> Memory:
            return inversion.start(nets, weights, sizes, frame)

        @jax.jit
        def coarse(weights: Weights, memory: Memory, frame: Frame) -> Float[Array, "b h w 3"]:
            return inversion.render_coarse(nets, weights, sizes, memory, frame).image

        @jax.jit
        def add_colours(memory: Memory, frame: Frame) -> Memory:
            return inversion.add_frames(memory, jax.tree.map(lambda x: x[None], frame), None)

        self.start, self.coarse, self.add_colours = start, coarse, add_colours
        self._kept: OrderedDict[tuple[int, ...], tuple[Any, Any]] = OrderedDict()

    def frames(self, seen: Sequence[Observation]) -> list[frames.Prepared]:
        """Frames as the networks read them."""
        make = lambda one: frames.Prepared(*frames.make_frame(self.geometry, one), one.identity)
        return [self._keep((id(one),), one, lambda one=one: make(one)) for one in seen]

    def drive(self, identity: Float[Array, " k"], driving: Sequence[Observation]) -> Drive:
        """What drives the head of that identity as some frames say."""
        stack = lambda name: np.stack([getattr(one, name) for one in driving])

        def make() -> Drive:
            cameras = zip(*[one.camera for one in driving], strict=True)
            whose = np.broadcast_to(identity, (len(driving), *identity.shape))
            camera = Camera(*map(np.stack, cameras))
            expression, gaze = stack("expression"), stack("gaze_rad")
            return frames.make_drives(self.geometry, whose, expression, gaze, camera)

        whose = hash(np.asarray(identity).tobytes())
        return self._keep((whose, *map(id, driving)), tuple(driving), make)

    def _keep(self, key: tuple[int, ...], held: Any, make: Callable[[], Any]) -> Any:
        """What was made before, or is made now; `held` lives as long, so its id stays its own."""
        if key not in self._kept:
            self._kept[key] = held, make()
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key][1]


class Bench:
    """A model, and the preparation that it shares with others of its sizes."""

    def __init__(self, model: Model, prepared: Preparation):
        """Compiles when it is first used."""
        nets, sizes = networks.build(model.sizes), model.sizes

        @jax.jit
        def see(weights: Weights, begun: Memory, chunk: Frame, rendered: Array) -> Features:
            refinement = inversion.refine(nets, weights, sizes, chunk, rendered, begun)
            return inversion.finish(nets, weights, sizes, begun._replace(refinement=refinement))

        self.model, self.prepared, self.see = model, prepared, see

    def render(
        self, avatar: Avatar, driving: Sequence[Observation], weights: Weights | None = None
    ) -> np.ndarray:
        """Images of the driving frames, some at once; the last call is filled up.

        Args:
            weights: of the avatar alone; None for the model's.
        """
        weights, images = weights or self.without_unets, []
        for begin in range(0, len(driving), AT_ONCE):
            some = driving[begin : begin + AT_ONCE]
            filled = [*some, *[some[-1]] * (AT_ONCE - len(some))]
            drives = self.prepared.drive(avatar.identity, filled)
            made = self.prepared.draw(weights, avatar, drives, None)
            images.append(np.asarray(made)[: len(some)])
        return np.concatenate(images)

    @property
    def without_unets(self) -> Weights:
        """The weights that all models of these sizes have: equal in form, so equally compiled."""
        kept = lambda tree: {name: tree[name] for name in tree if name != "unet_encoder"}
        return {kind: kept(tree) for kind, tree in self.model.weights.items()}


def open_bench(model: Model) -> Bench:
    """A model with a preparation of its own."""
    return Bench(model, Preparation(model.head, model.sizes))


def ours(bench: Bench) -> System:
    """All frames, folded one after the other."""
    reconstruct = lambda seen: bench.model.reconstruct(bench.prepared.frames(seen))
    return System("recurrent aggregation of all frames", reconstruct, bench.render)


def first_frame(bench: Bench) -> System:
    """The avatar of the first frame alone, whatever their number."""
    reconstruct = lambda seen: bench.model.reconstruct(bench.prepared.frames(seen[:1]))
    return System("the first frame alone", reconstruct, bench.render, most=1)


def coarse(bench: Bench) -> System:
    """Latent inversion of the first frame alone. Source: paper 4.3.2."""

    def reconstruct(seen: Sequence[Observation]) -> Avatar:
        made = bench.prepared.frames(seen[:1])[0]
        memory = bench.prepared.start(bench.without_unets, made.frame)
        memory = bench.prepared.add_colours(memory, made.frame)
        return make_avatar(bench, memory, memory.coarse, made)

    return System("without the second stage", reconstruct, bench.render, most=1)


def make_avatar(bench: Bench, memory: Memory, maps: Features, first: frames.Prepared) -> Avatar:
    """The avatar of canonical features, before what is behind the person in the first frame."""
    fill, identity = background(bench, first), jnp.asarray(first.identity)
    return Avatar(memory.w_plus, maps, memory.colours, fill, identity)


def background(bench: Bench, seen: frames.Prepared) -> Array | None:
    """What the bench's model draws behind the person of a frame; None: nothing."""
    return seen.background if bench.model.sizes.departures.background else None


def averaged(bench: Bench, window: int) -> System:
    """The mean of the canonical features of windows, each reconstructed alone.

    It is inversion.reconstruct_windows, one window after the other, so that there is no program
    for each number of frames. What windows gave is kept while the first frame is the same.

    Source: paper 4.2.3 (windows of one frame), 4.3.1 and B.1 (fixed windows).
    """
    shared, weights = bench.prepared, bench.without_unets
    kept: dict[tuple, Any] = {}

    def keep(key: tuple, make: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def maps(begun: Memory, names: tuple[int, ...], some: Sequence[frames.Prepared]) -> Features:
        look = lambda one: shared.coarse(weights, begun, one.frame)
        pairs = zip(names, some, strict=True)
        rendered = [keep(("coarse", name), lambda one=one: look(one)) for name, one in pairs]
        chunk = jax.tree.map(lambda *x: jnp.stack(x), *[one.frame for one in some])
        return bench.see(bench.model.weights, begun, chunk, jnp.stack(rendered))

    def reconstruct(seen: Sequence[Observation]) -> Avatar:
        made, names = shared.frames(seen), tuple(map(id, seen))
        if ("begun", names[0]) not in kept:
            kept.clear()
        kept.setdefault(("held",), []).extend(seen)  # as long as they live, their ids are theirs
        begun = keep(("begun", names[0]), lambda: shared.start(weights, made[0].frame))
        cuts = [slice(first, first + window) for first in range(0, len(made), window)]
        all_maps = [
            keep(names[cut], lambda cut=cut: maps(begun, names[cut], made[cut])) for cut in cuts
        ]
        mean = jax.tree.map(lambda *x: sum(x) / len(x), *all_maps)
        memory = functools.reduce(shared.add_colours, [one.frame for one in made], begun)
        return make_avatar(bench, memory, mean, made[0])

    about = "each frame alone" if window == 1 else f"windows of {window} frames"
    return System(f"{about}, features averaged", reconstruct, bench.render)


def random_heads(bench: Bench) -> System:
    """Random identities of the generator alone; the first frame says nothing but which one.

    Source: paper 4.2.1 (randomly sampled latent codes, cameras and face parameters).
    """
    sizes, generator = bench.model.sizes, part(bench.model.weights, "generator")
    made, side = prior.build(sizes), sizes.renderer.image_resolution
    black = jnp.full((1, side, side, 3), -1.0) if sizes.departures.background else None
    colours = no_colours(sizes, 1) if sizes.departures.colours else None

    @jax.jit
    def sample(weights, z, label):
        w_plus = made.map(weights, z, label)
        return w_plus, made.features(weights, w_plus)

    def reconstruct(seen: Sequence[Observation]) -> Avatar:
        one = seen[0]
        whose = np.frombuffer(np.asarray(one.identity, np.float32).tobytes(), np.uint32)
        z = np.random.default_rng(whose).standard_normal((1, sizes.z_dim), np.float32)
        label = np.concatenate([np.ravel(x) for x in one.camera])[None]
        w_plus, maps = sample(generator, z, label)
        return Avatar(w_plus, maps, colours, black, jnp.asarray(one.identity))

    return System("random identities of the generator", reconstruct, bench.render, most=1)


def textured_mesh(bench: Bench) -> System:
    """The sources' colours on the driven mesh, over the first source frame; no network."""
    head, deform = bench.model.head, bench.prepared.geometry.deform

    def reconstruct(seen: Sequence[Observation]) -> tuple[Any, Any, Any]:
        made = [one.frame for one in bench.prepared.frames(seen)]
        return baselines.texture(made), made[0].image[0], seen[0].identity

    def render(made: tuple[Any, Any, Any], driving: Sequence[Observation]) -> np.ndarray:
        colours, behind, identity = made
        batch = lambda x: np.asarray(x)[None]

        def draw(one: Observation) -> np.ndarray:
            posed, _ = deform(batch(identity), batch(one.expression), batch(one.gaze_rad))
            return baselines.draw_textured_mesh(head, colours, posed[0], one.camera, behind)

        return np.stack([draw(one) for one in driving])

    return System("the sources' colours on the mesh", reconstruct, render)
