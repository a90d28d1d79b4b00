"""Avatars that grow frame by frame, so that one fold of a long clip can be scored on its way.

It is avatar.Model taken apart: what depends on a frame and on the first one alone is computed
once for each frame, however often the frame comes and whatever aggregator reads it.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import avatar, generator, inversion, networks, settings
from invertavatar_jax.avatar import Avatar
from invertavatar_jax.frames import Prepared
from invertavatar_jax.generator import Colours, Features
from invertavatar_jax.inversion import Memory, Refinement
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.types import Drive, Frame

UNETS = "unet_encoder"
FIRST = settings.AGGREGATORS[0]


class Reading(NamedTuple):
    """What one frame says, beside the coarse avatar."""

    texture: Float[Array, "1 b u u 7"]  # E_tex's input
    planes: Float[Array, "1 b h w c"]  # E_tri's
    colours: Colours | None  # observed ones, of this frame alone


class Begun(NamedTuple):
    """What the first frame alone decides."""

    memory: Memory  # without a refinement
    first: Prepared


class State(NamedTuple):
    """What is kept of the frames so far."""

    refinement: Refinement | None = None
    colours: Colours | None = None
    # of aggregators with a window: sums over whole windows, their number, and the next one
    total: Features | None = None
    windows: int = 0
    pending: tuple[Reading, ...] = ()


class Shared(NamedTuple):
    """Compiled functions that do not know the aggregator."""

    begin: Callable[[Weights, Frame], Memory]
    read: Callable[[Weights, Memory, Frame], Reading]
    finish: Callable[[Weights, Memory], Features]
    draw: Callable[..., Float[Array, "b h w 3"]]  # weights, avatar, drives, key


class System:
    """One aggregator with its weights."""

    def __init__(self, name: str, sizes: settings.Model, weights: Weights):
        """Compiles nothing yet."""
        nets = networks.build(sizes)
        self.name, self.sizes, self.window = name, sizes, networks.window(sizes)
        self.nets = nets
        self.unets = jax.device_put(part(weights, UNETS))
        without = {kind: {**tree, UNETS: {}} for kind, tree in weights.items()}
        self.weights = jax.device_put(without)
        self.shared = _share(settings.with_aggregator(sizes, FIRST))

        self.refine = jax.jit(functools.partial(inversion.apply_unets, nets))
        self._empty: Any = None

    @functools.cached_property
    def reads_as(self) -> str:
        """Equal for systems whose frames say the same: those that differ in their U-Nets alone."""
        seen = hashlib.sha256(repr(settings.with_aggregator(self.sizes, FIRST)).encode())
        for leaf in jax.tree.leaves(self.weights):
            seen.update(np.asarray(leaf).tobytes())
        return seen.hexdigest()

    def begin(self, first: Prepared) -> Begun:
        """The coarse avatar of the first frame."""
        return Begun(self.shared.begin(self.weights, first.frame), first)

    def read(self, begun: Begun, seen: Prepared) -> Reading:
        """What a frame says; it is not folded in."""
        return self.shared.read(self.weights, begun.memory, seen.frame)

    def fold(self, state: State, reading: Reading) -> State:
        """The state after one more frame."""
        add = lambda total, more: more if total is None else jax.tree.map(jnp.add, total, more)
        state = state._replace(colours=add(state.colours, reading.colours))
        if self.window is None:
            before = state.refinement
            states = None if before is None else (before.texture_state, before.triplane_state)
            states = self._empty_states(reading) if states is None else states
            made = self.refine(self.unets, states, reading.texture, reading.planes)
            return state._replace(refinement=made)
        return state._replace(pending=(*state.pending, reading))

    def maps(self, begun: Begun, state: State) -> tuple[Features, State]:
        """The canonical features so far, and the state with whole windows added up.

        Source: inversion.finish; inversion.reconstruct_windows for those with a window.
        """
        if self.window is None:
            assert state.refinement is not None, "no frame is folded in"
            return self._finish(begun, state.refinement), state
        state = self._add_windows(begun, state)
        if not state.pending:
            total, count = state.total, state.windows
        else:
            rest = self._see_window(begun, state.pending)
            none = state.total is None
            total = rest if none else jax.tree.map(jnp.add, state.total, rest)
            count = state.windows + 1
        return jax.tree.map(lambda x: x / count, total), state

    def draw(self, begun: Begun, maps: Features, state: State, drives: Drive) -> np.ndarray:
        """Images of the avatar as the drives say."""
        memory, first = begun
        fill = first.background if self.sizes.departures.background else None
        identity = jnp.asarray(first.identity)
        made = Avatar(memory.w_plus, maps, state.colours, fill, identity)
        return np.asarray(self.shared.draw(self.weights, made, drives, None))

    def without_colours(self, state: State) -> State:
        """The state as if no colour had been observed, which is drawn by the same program."""
        none = jax.tree.map(jnp.zeros_like, state.colours)
        return state._replace(colours=none)

    def _empty_states(self, reading: Reading) -> Any:
        """Zeros have seen no frame, and need no program of their own."""
        if self._empty is None:
            made = jax.eval_shape(self.refine, self.unets, None, reading.texture, reading.planes)
            states = (made.texture_state, made.triplane_state)
            self._empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), states)
        return self._empty

    def _finish(self, begun: Begun, refinement: Refinement) -> Features:
        bare = refinement._replace(texture_state=(), triplane_state=())
        memory = begun.memory._replace(refinement=bare, colours=None)
        return self.shared.finish(self.weights, memory)

    def _add_windows(self, begun: Begun, state: State) -> State:
        """Moves whole windows from the frames that wait into the sums."""
        while len(state.pending) >= self.window:
            made = self._see_window(begun, state.pending[: self.window])
            whole = state.total
            state = state._replace(
                total=made if whole is None else jax.tree.map(jnp.add, whole, made),
                windows=state.windows + 1,
                pending=state.pending[self.window :],
            )
        return state

    def _see_window(self, begun: Begun, seen: tuple[Reading, ...]) -> Features:
        stack = lambda name: jnp.concatenate([getattr(one, name) for one in seen])
        made = self.refine(self.unets, None, stack("texture"), stack("planes"))
        return self._finish(begun, made)


@functools.cache
def _share(sizes: settings.Model) -> Shared:
    nets, steps = networks.build(sizes), avatar.make_steps(sizes)

    @jax.jit
    def begin(weights: Weights, frame: Frame) -> Memory:
        return inversion.start(nets, weights, sizes, frame)

    @jax.jit
    def read(weights: Weights, memory: Memory, frame: Frame) -> Reading:
        seen = inversion.render_coarse(nets, weights, sizes, memory, frame).image
        residual, colours = seen - frame.image, None
        if sizes.departures.colours:
            none = generator.no_colours(sizes, len(frame.image))
            colours = generator.add_colours(none, frame)
        texture = inversion.texture_input(sizes, frame, residual)
        planes = inversion.triplane_input(frame, residual)
        return Reading(texture[None], planes[None], colours)

    return Shared(begin, read, steps.finish, steps.draw)


def distance(left: Any, right: Any) -> float:
    """The Euclidean distance of two trees of arrays."""
    apart = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), left, right)
    return float(np.sqrt(sum(float(x) for x in jax.tree.leaves(apart))))
