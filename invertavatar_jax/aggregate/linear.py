"""Linear recurrences h = a * h + b, element by element: frame by frame, or all at once.

What a frame does to the state does not depend on the state, so steps can be joined in any
order: a scan of about log2(t) rounds in place of t steps, for memory in proportion to t.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.aggregate.fold import Params, Step, fold

State = Float[Array, "b h w c"]
# what is kept of the state before, 0 to 1 so that no product grows, and what is added; the
# first may have sides of 1 where the second has more
Terms = tuple[Float[Array, "t _ _ _ c"], Float[Array, "t b h w c"]]
Reader = Callable[[Params, Float[Array, "t b h w c"]], Terms]  # each frame by itself
# how frames are folded: in_turn, at_once, or distributed.last_state with a Spread
Run = Callable[[Reader, Params, State, Float[Array, "t b h w c"]], State]


def join(first: Terms, second: Terms) -> Terms:
    """Two steps, one after the other, as one."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def apply(step: tuple[Array, Array], state: Array) -> Array:
    """The state after a step."""
    return step[0] * state + step[1]


def states(steps: Terms, state: State) -> Float[Array, "t b h w c"]:
    """The state after each of t steps, by an associative scan."""
    return apply(lax.associative_scan(join, steps), state[None])


def in_turn(read: Reader, params: Params, state: State, frames: Float[Array, "t b h w c"]) -> State:
    """The state after t frames, one after the other; as fold.fold."""
    return fold(_step(read), params, state, frames)


def at_once(read: Reader, params: Params, state: State, frames: Float[Array, "t b h w c"]) -> State:
    """As in_turn, by a scan over all frames."""
    return states(read(params, frames), state)[-1]


def _step(read: Reader) -> Step:
    def step(params: Params, state: State, frame: Float[Array, "b h w c"]) -> State:
        return apply(jax.tree.map(lambda x: x[0], read(params, frame[None])), state)

    return step


def flat(frames: Float[Array, "t b h w c"]) -> Float[Array, "n h w c"]:
    """Times and people as one axis, as convolutions take them."""
    return jnp.reshape(frames, (-1, *frames.shape[2:]))
