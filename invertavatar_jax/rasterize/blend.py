"""Neural textures drawn on the driven mesh, blended into the frontal plane."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.rasterize.draw import draw

# Windows and rows are given in texels of a plane of this side, whatever the plane's own is.
UNIT = 256

Window = tuple[int, int, int, int]  # top, bottom, left, right; ends excluded


class Composed(NamedTuple):
    """What the face generator is conditioned on, and where its result goes."""

    conditions: list[Float[Array, "b h w c"]]  # features, then alpha as the last channel
    full_alpha: Float[Array, "b r r 1"]  # the face and its holes
    mouth_mask: Float[Array, "b r r 1"]  # the holes


def fill_mouth(alpha: Float[Array, "b h w 1"]) -> Float[Array, "b h w 1"]:
    """Marks holes: pixels off the mask that pixel (0, 0) does not reach through such pixels.

    Steps go up, down, left and right, not diagonally. Pixel (0, 0) must be off the mask;
    where it is on it, everything off the mask counts as hole.

    Args:
        alpha: the mask, in {0, 1}.

    Returns:
        1 in holes, 0 elsewhere; no gradient.

    Source: SPEC section 5.
    """
    free = jax.lax.stop_gradient(alpha[..., 0]) < 0.5
    return (free & ~flood(free)).astype(alpha.dtype)[..., None]


def flood(free: Bool[Array, "b h w"]) -> Bool[Array, "b h w"]:
    """What pixel (0, 0) reaches by steps up, down, left and right through free pixels."""
    seed = jnp.zeros_like(free).at[:, 0, 0].set(free[:, 0, 0])

    def grow(state):
        _, reached = state
        return reached, _spread(_spread(reached, free, axis=2), free, axis=1)

    changes = lambda state: jnp.any(state[0] != state[1])
    return jax.lax.while_loop(changes, grow, (jnp.zeros_like(seed), seed))[1]


def _spread(
    reached: Bool[Array, "b h w"], free: Bool[Array, "b h w"], axis: int
) -> Bool[Array, "b h w"]:
    """Reaches all free pixels of a run along the axis that holds a reached one."""
    size = free.shape[axis]
    for direction in (1, -1):
        passable, step = free, 1
        while step < size:  # after each round, runs of twice the length are done
            reached = reached | (passable & _shift(reached, step * direction, axis))
            passable = passable & _shift(passable, step * direction, axis)
            step *= 2
    return reached


def _shift(x, step, axis):
    """Moves x by `step` along the axis; False comes in."""
    size = x.shape[axis]
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(step, 0), max(-step, 0))
    start = max(-step, 0)
    return jax.lax.slice_in_dim(jnp.pad(x, padding), start, start + size, axis=axis)


def scale_window(window: Window, size: int) -> Window:
    """The window of a plane of side `size`. Halves round to even, as released."""
    top, bottom, left, right = (round(edge * size / UNIT) for edge in window)
    return top, bottom, left, right


def crop(x: Float[Array, "b h w c"], window: Window) -> Float[Array, "b p q c"]:
    """The part of a plane that the raster covers."""
    top, bottom, left, right = scale_window(window, x.shape[1])
    return x[:, top:bottom, left:right]


def compose(
    textures: Sequence[Float[Array, "b h w c"]],
    static: Sequence[Float[Array, "b h w k"]],
    raster: Float[Array, "b r r 3"],
    window: Window,
    mouth_row: int,
) -> Composed:
    """Draws each texture on the mesh, over the static features of the same size.

    Args:
        textures: feature maps of the texture generator.
        static: those of the tri-plane generator, of the same sides; k = c, or k = 3 c for
            images of three planes, of which the frontal one is first and used.
        raster: (u, v) in [-1, 1] and mask in {0, 1}; rows grow with +y.
        window: the part of the plane that the raster covers, of a plane of 256.
        mouth_row: holes in rows of the raster below this one, of 256, show static features
            (the mask that goes with the features leaves them out).

    Raises:
        ValueError: a static map fits its texture neither as one plane nor as three.

    Source: SPEC section 5.
    """
    side = raster.shape[1]
    alpha = raster[..., 2:3]
    mouth = fill_mouth(alpha)
    upper = mouth.at[:, : round(mouth_row * side / UNIT)].set(0.0)
    upper_alpha = jnp.clip(alpha + upper, 0.0, 1.0)
    drawn = draw(list(textures), raster[..., :2])
    conditions = []
    for texture, feature, behind in zip(textures, drawn, static, strict=True):
        size, channels = texture.shape[1:3], texture.shape[3]
        if behind.shape[3] not in (channels, 3 * channels):
            raise ValueError(
                f"got a static map of {behind.shape[3]} channels for a texture of {channels}, "
                f"expected {channels} or {3 * channels}"
            )
        behind = resize_antialias(crop(behind[..., :channels], window), size)
        on = resize_antialias(alpha, size)
        blended = feature * on + behind * (1.0 - on)
        conditions.append(jnp.concatenate([blended, resize_antialias(upper_alpha, size)], -1))
    return Composed(conditions, jnp.clip(alpha + mouth, 0.0, 1.0), mouth)


def paste_face(
    face: Float[Array, "b h w c"],
    full_alpha: Float[Array, "b r r 1"],
    static: Float[Array, "b p p k"],
    window: Window,
) -> Float[Array, "b 3 p p c"]:
    """Static planes (k = 3 c channels, plane by plane) with the face in the frontal one.

    Source: SPEC section 5. As released, the two other planes stay static.
    """
    b, side = static.shape[:2]
    planes = static.reshape(b, side, side, 3, -1).transpose(0, 3, 1, 2, 4)
    top, bottom, left, right = scale_window(window, side)
    size = (bottom - top, right - left)
    on = resize_antialias(full_alpha, size)
    part = planes[:, 0, top:bottom, left:right]
    part = resize_antialias(face, size) * on + part * (1.0 - on)
    return planes.at[:, 0, top:bottom, left:right].set(part)
