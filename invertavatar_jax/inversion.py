"""Two-stage incremental inversion: frames of a person -> an avatar. Paper 3.3, 3.4."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from invertavatar_jax import generator, networks
from invertavatar_jax.generator import Colours, Features
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.render.rays import ray_limits
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Frame

CHUNK = 4  # frames that the released evaluation folds at once


class Refinement(NamedTuple):
    """What the U-Nets say after the frames so far; states are empty in a one-shot model."""

    offsets: list[Float[Array, "b h w c"]]  # added to the first textures
    modulation: dict[int, Float[Array, "2 b h w c"]]  # scale and shift for G_static
    texture_state: PyTree[Float[Array, "..."]]  # of the aggregators, a tree per level
    triplane_state: PyTree[Float[Array, "..."]]


class Memory(NamedTuple):
    """All that is kept of the frames seen; its size does not depend on their number."""

    w_plus: Float[Array, "b l d"]
    coarse: Features
    refinement: Refinement | None  # None before the first frame is folded in
    colours: Colours | None


def encode_latent(nets: Networks, weights: Weights, frame: Frame) -> Float[Array, "b l d"]:
    """E_latent: the first frame -> w_plus. SPEC section 9.1."""
    # the buffer latent_avg, equal to it in released checkpoints, is not read there either
    average = weights["buffers"]["generator"]["backbone"]["mapping"]["w_avg"]
    return nets.latent.apply(part(weights, "encoder"), frame.image, average)


def texture_input(
    model: Model, frame: Frame, residual: Float[Array, "b h w 3"]
) -> Float[Array, "b u u 7"]:
    """E_tex's input: colours, residual (-1 where unseen) and visibility. SPEC section 9.5.

    Of a posed texture (paper 4.3.2): image, residual and matte, u = h.
    """
    if model.posed_texture:
        return jnp.concatenate([frame.image, residual, frame.matte], -1)
    visible = frame.uv_visible
    moved = grid_sample(residual, frame.uv_xy) * visible - (1 - visible)
    return jnp.concatenate([frame.uv_rgb, moved, visible], -1)


def triplane_input(frame: Frame, residual: Float[Array, "b h w 3"]) -> Float[Array, "b h w c"]:
    """E_tri's input: image and residual; pulled onto the frontal plane where configured."""
    if frame.frontal_xy is None:
        return jnp.concatenate([frame.image, residual], -1)
    ones = jnp.ones_like(frame.matte)
    packed = jnp.concatenate([frame.image, residual, frame.matte, ones], -1)
    return grid_sample(packed, frame.frontal_xy)


def refine(
    nets: Networks,
    weights: Weights,
    model: Model,
    frames: Frame,
    rendered: Float[Array, "t b h w 3"],
    memory: Memory,
) -> Refinement:
    """Folds a chunk of t frames into the recurrent decoders. SPEC section 9.2, 9.3.

    Args:
        frames: leading axes t, b.
        rendered: the coarse avatar seen as in each frame.
        memory: of the frames before.
    """
    old = memory.refinement
    states = None if old is None else (old.texture_state, old.triplane_state)
    residual = rendered - frames.image
    texture = jax.vmap(functools.partial(texture_input, model))(frames, residual)
    planes = jax.vmap(triplane_input)(frames, residual)
    return apply_unets(nets, part(weights, "unet_encoder"), states, texture, planes)


def apply_unets(
    nets: Networks,
    unets: Weights,
    states: tuple[PyTree, PyTree] | None,
    texture: Float[Array, "t b u v 7"],
    planes: Float[Array, "t b h w c"],
) -> Refinement:
    """E_tex and E_tri on a chunk of t frames. SPEC section 9.2, 9.3.

    Args:
        unets: the part unet_encoder of the weights.
        states: texture_state and triplane_state of the frames before; None: there are none.
        texture: of texture_input.
        planes: of triplane_input.
    """
    say = lambda net, name, seen, state: net.apply(part(unets, name), seen, state)
    before = (None, None) if states is None else states
    offsets, texture_state = say(nets.texture_unet, "texture_unet", texture, before[0])
    modulation, triplane_state = say(nets.triplane_unet, "triplane_unet", planes, before[1])
    return Refinement(offsets, modulation, texture_state, triplane_state)


def start(nets: Networks, weights: Weights, model: Model, frame: Frame) -> Memory:
    """Latent inversion of the first frame (leading axis b): the coarse avatar."""
    w_plus = encode_latent(nets, weights, frame)
    coarse = generator.features(nets, part(weights, "generator"), w_plus)
    colours = generator.no_colours(model, w_plus.shape[0]) if model.departures.colours else None
    return Memory(w_plus, coarse, None, colours)


def render_coarse(
    nets: Networks,
    weights: Weights,
    model: Model,
    memory: Memory,
    frame: Frame,
    *,
    limits: generator.Limits | None = None,
    key: jax.Array | None = None,
) -> generator.Rendered:
    """The coarse avatar, seen as in the frame: what the residual is taken against.

    Args:
        limits: as of generator.render.
        key: as of generator.render.
    """
    return generator.render(
        nets,
        part(weights, "generator"),
        model,
        memory.w_plus,
        memory.coarse,
        frame.drive,
        limits=limits,
        key=key,
    )


def add_frames(memory: Memory, frames: Frame, refinement: Refinement | None) -> Memory:
    """The memory after t frames (leading axes t, b) and what `refine` made of them."""
    colours = memory.colours
    if colours is not None:
        for i in range(frames.image.shape[0]):
            colours = generator.add_colours(colours, jax.tree.map(lambda x, i=i: x[i], frames))
    return memory._replace(refinement=refinement, colours=colours)


def chunk_limits(model: Model, frames: Frame) -> generator.Limits:
    """Where rays of a chunk start and end as released: about its cameras' mean distance."""
    return ray_limits(frames.drive.camera, model.renderer.near, model.renderer.far)


def fold_chunk(
    nets: Networks,
    weights: Weights,
    model: Model,
    memory: Memory,
    frames: Frame,
    *,
    limits: generator.Limits | None = None,
    key: jax.Array | None = None,
) -> Memory:
    """Folds t frames (leading axes t, b) into the memory as one chunk.

    Within a chunk every level of the decoders finishes all frames before the next level
    reads its state; chunks of one frame make the fold independent of how frames arrive.

    Args:
        limits: as of generator.render; the released ones are those of chunk_limits.
        key: as of generator.render; every frame draws its own numbers.

    Raises:
        ValueError: a second frame for a one-shot model.
    """
    count = frames.image.shape[0]
    if model.one_shot and (count != 1 or memory.refinement is not None):
        raise ValueError("a one-shot model takes exactly one frame")

    def see(frame_and_key):
        frame, key = frame_and_key
        return render_coarse(nets, weights, model, memory, frame, limits=limits, key=key).image

    keys = None if key is None else jax.random.split(key, count)
    rendered = jax.lax.map(see, (frames, keys))
    return add_frames(memory, frames, refine(nets, weights, model, frames, rendered, memory))


def reconstruct(
    nets: Networks, weights: Weights, model: Model, frames: Frame
) -> tuple[Memory, Features]:
    """The avatar of frames (leading axes t, b), folded in one after the other.

    Aggregators that hold a fixed window see windows; see reconstruct_windows.
    """
    if window := networks.window(model):
        return reconstruct_windows(nets, weights, model, frames, window)
    first = jax.tree.map(lambda x: x[0], frames)

    def fold(memory: Memory, frame: Frame) -> tuple[Memory, None]:
        chunk = jax.tree.map(lambda x: x[None], frame)
        return fold_chunk(nets, weights, model, memory, chunk), None

    memory, _ = fold(start(nets, weights, model, first), first)
    if frames.image.shape[0] > 1:
        rest = jax.tree.map(lambda x: x[1:], frames)
        memory, _ = jax.lax.scan(fold, memory, rest)
    return memory, finish(nets, weights, model, memory)


def reconstruct_windows(
    nets: Networks, weights: Weights, model: Model, frames: Frame, window: int
) -> tuple[Memory, Features]:
    """The mean of the canonical features that windows of frames (leading axes t, b) give.

    Each window is folded at once into an empty memory that has the first frame's w_plus; the
    last one may be shorter. A window of 1 averages one-shot features.

    Returns:
        A memory without a refinement, as no window knows of the others, and the means of
        textures and static planes.

    Raises:
        ValueError: a window of no frames.

    Source: paper 4.3.1 and B.1 ("averages the inverted canonical features"), 4.2.3.
    """
    if window < 1:
        raise ValueError(f"got windows of {window} frames, expected at least 1")
    count = frames.image.shape[0]
    begun = start(nets, weights, model, jax.tree.map(lambda x: x[0], frames))

    def see(some: Frame) -> Features:
        memory = fold_chunk(nets, weights, model, begun, some)
        return finish(nets, weights, model, memory)

    add = lambda total, some: jax.tree.map(jnp.add, total, see(some))
    whole, rest = divmod(count, window)
    total = jax.tree.map(jnp.zeros_like, begun.coarse)
    if whole:
        split = lambda x: x[: count - rest].reshape(whole, window, *x.shape[1:])
        step = lambda total, some: (add(total, some), None)
        total, _ = jax.lax.scan(step, total, jax.tree.map(split, frames))
    if rest:
        total = add(total, jax.tree.map(lambda x: x[count - rest :], frames))
    mean = jax.tree.map(lambda x: x / (whole + bool(rest)), total)
    return add_frames(begun, frames, None), mean


def finish(nets: Networks, weights: Weights, model: Model, memory: Memory) -> Features:
    """The refined textures and static planes of the memory. SPEC sections 9.6, 9.7."""
    refinement = memory.refinement
    textures = list(memory.coarse.textures)
    for i, offset in enumerate(refinement.offsets):
        textures[i] = textures[i] + offset
    static = nets.static.apply(
        part(part(part(weights, "generator"), "backbone"), "synthesis"),
        memory.w_plus,
        modulation=refinement.modulation,
    )
    if model.one_shot:  # the face network is conditioned on features without modulation
        static = [*memory.coarse.static[:-1], static[-1]]
    return Features(textures, static)


def released_chunks(count: int, *, sequential: bool = False) -> Int[np.ndarray, "n 4"]:
    """The order in which the released evaluation folds frames: numbers of frames, by chunk.

    The frames are repeated from the first on until they fill chunks of four. Chunk i of n
    then has the frames i, i + n, i + 2n and i + 3n, so that each sees the whole clip.

    Args:
        count: of frames, at least 1.
        sequential: chunk i has the frames 4i to 4i + 3 instead.

    Source: SPEC section 9.6.
    Deviation: three frames are filled like other numbers; the released code refuses them.
    """
    if count < 1:
        raise ValueError(f"got {count} frames, expected at least one")
    chunks = -(-count // CHUNK)
    filled = np.arange(chunks * CHUNK) % count
    return filled.reshape(chunks, CHUNK) if sequential else filled.reshape(CHUNK, chunks).T
