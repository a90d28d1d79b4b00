"""Folds frames into a memory with `lax.scan`: one program, whatever the number of frames."""

import functools
import math
from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import Array, Float, PyTree

Params = PyTree[Float[Array, "..."]]
Memory = TypeVar("Memory", bound=PyTree[Array])
Frames = PyTree[Float[Array, "t ..."]]
Step = Callable[[Params, Memory, PyTree[Array]], Memory]

SEGMENTED_FROM = 64  # frames; with fewer, segments save less memory than they cost time


def fold(
    step: Step[Memory],
    params: Params,
    memory: Memory,
    frames: Frames,
    *,
    remat: bool = True,
    segment: int | None = None,
) -> Memory:
    """Applies `memory = step(params, memory, frame)` to t frames in order; the last memory.

    Without a gradient it needs room for one step alone. The options are for the backward pass
    and change no bit of the value. With `remat` that pass computes each step again from its
    memory, so that it keeps one memory per frame and nothing that a step made on its way. In
    segments it keeps one memory per segment besides those of the segment that it is in, about
    2 sqrt(t) in all, and computes every step once more.

    Args:
        step: must not close over anything that needs a gradient.
        frames: a tree of arrays with t as the leading axis of each.
        segment: frames per segment; None takes about sqrt(t) from SEGMENTED_FROM frames on,
            and one segment for fewer. Without `remat` it has no effect.

    Raises:
        ValueError: a segment of no frames.

    Source: paper 3.4 (any number of frames, constant memory).
    """
    count = jax.tree.leaves(frames)[0].shape[0]
    if segment is not None and segment < 1:
        raise ValueError(f"got segments of {segment} frames, expected at least 1")
    if not remat or count < 2:
        return _run(step, params, memory, frames)
    return _fold(step, segment or segment_length(count), params, memory, frames)


def segment_length(count: int) -> int:
    """About sqrt(count): a divisor, where one is near, as a rest makes a copy of the frames."""
    if count < SEGMENTED_FROM:
        return max(count, 1)
    root = math.isqrt(count)
    return next((near for near in range(root, root // 2, -1) if count % near == 0), root)


def _run(step: Step[Memory], params: Params, memory: Memory, frames: Frames) -> Memory:
    """All frames in one loop."""
    one = lambda memory, frame: (step(params, memory, frame), None)
    return jax.lax.scan(one, memory, frames)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _fold(
    step: Step[Memory], segment: int, params: Params, memory: Memory, frames: Frames
) -> Memory:
    """One loop where nobody asks for a gradient: segments would copy their frames."""
    return _run(step, params, memory, frames)


def _forward_rule(step, segment, params, memory, frames):
    return jax.vjp(functools.partial(_run_segments, step, segment), params, memory, frames)


def _backward_rule(step, segment, pull_back, grad):
    return pull_back(grad)


_fold.defvjp(_forward_rule, _backward_rule)


def _run_segments(
    step: Step[Memory], segment: int, params: Params, memory: Memory, frames: Frames
) -> Memory:
    """As `_run`, in a form whose gradient keeps what `fold` says."""
    count = jax.tree.leaves(frames)[0].shape[0]
    # a loop's body is merged with no other, so that nothing needs to stand in XLA's way
    step = jax.checkpoint(step, prevent_cse=False)
    run = functools.partial(_run, step)
    if segment >= count:
        return run(params, memory, frames)
    run = jax.checkpoint(run, prevent_cse=False)
    whole, rest = divmod(count, segment)
    split = lambda x: x[: count - rest].reshape(whole, segment, *x.shape[1:])
    one = lambda memory, frames: (run(params, memory, frames), None)
    memory, _ = jax.lax.scan(one, memory, jax.tree.map(split, frames))
    if not rest:
        return memory
    return run(params, memory, jax.tree.map(lambda x: x[count - rest :], frames))
