"""Two-stage incremental inversion: frames of a person -> an avatar. Paper 3.3, 3.4."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from invertavatar_jax import generator
from invertavatar_jax.generator import Colours, Features
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Frame


class Refinement(NamedTuple):
    """What the U-Nets say after the frames so far."""

    offsets: list[Float[Array, "b h w c"]]  # added to the first textures
    modulation: dict[int, Float[Array, "2 b h w c"]]  # scale and shift for G_static
    texture_state: PyTree[Float[Array, "..."]]  # ConvGRU states, one leaf per level
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


def texture_input(frame: Frame, residual: Float[Array, "b h w 3"]) -> Float[Array, "b u u 7"]:
    """E_tex's input: colours, residual (-1 where unseen) and visibility. SPEC section 9.5."""
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
    state = (None, None) if old is None else (old.texture_state, old.triplane_state)
    residual = rendered - frames.image
    unets = part(weights, "unet_encoder")
    inputs = jax.vmap(texture_input)(frames, residual)
    offsets, texture_state = nets.texture_unet.apply(part(unets, "texture_unet"), inputs, state[0])
    inputs = jax.vmap(triplane_input)(frames, residual)
    modulation, triplane_state = nets.triplane_unet.apply(
        part(unets, "triplane_unet"), inputs, state[1]
    )
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
) -> generator.Rendered:
    """The coarse avatar, seen as in the frame: what the residual is taken against.

    Args:
        limits: as of generator.render.
    """
    return generator.render(
        nets,
        part(weights, "generator"),
        model,
        memory.w_plus,
        memory.coarse,
        frame.drive,
        limits=limits,
    )


def add_frames(memory: Memory, frames: Frame, refinement: Refinement) -> Memory:
    """The memory after t frames (leading axes t, b) and what `refine` made of them."""
    colours = memory.colours
    if colours is not None:
        for i in range(frames.image.shape[0]):
            colours = generator.add_colours(colours, jax.tree.map(lambda x, i=i: x[i], frames))
    return memory._replace(refinement=refinement, colours=colours)


def fold_chunk(
    nets: Networks,
    weights: Weights,
    model: Model,
    memory: Memory,
    frames: Frame,
    *,
    limits: generator.Limits | None = None,
) -> Memory:
    """Folds t frames (leading axes t, b) into the memory as one chunk.

    Within a chunk every level of the decoders finishes all frames before the next level
    reads its state; chunks of one frame make the fold independent of how frames arrive.

    Args:
        limits: as of generator.render; the released code takes one for the whole chunk.
    """
    see = lambda frame: render_coarse(nets, weights, model, memory, frame, limits=limits).image
    rendered = jax.lax.map(see, frames)
    return add_frames(memory, frames, refine(nets, weights, frames, rendered, memory))


def finish(nets: Networks, weights: Weights, memory: Memory) -> Features:
    """The refined textures and static planes of the memory. SPEC section 9.6."""
    refinement = memory.refinement
    textures = list(memory.coarse.textures)
    for i, offset in enumerate(refinement.offsets):
        textures[i] = textures[i] + offset
    static = nets.static.apply(
        part(part(part(weights, "generator"), "backbone"), "synthesis"),
        memory.w_plus,
        modulation=refinement.modulation,
    )
    return Features(textures, static)
