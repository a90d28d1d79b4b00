"""Features of points in space, read from three axis-aligned planes."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# The coordinates that run along each plane's columns and rows. As released: there is no
# plane of (y, z), and the third is the transpose of the second. SPEC section 6.
PLANE_AXES = ((0, 1), (0, 2), (2, 0))
# EG3D's later axes, which Next3D uses.
PLANE_AXES_FIXED = ((0, 1), (0, 2), (2, 1))

Axes = tuple[tuple[int, int], ...]

BLOCK = 1024  # points whose gradients fit into a core's cache


def project(
    points: Float[Array, "b n 3"], box_warp: float, axes: Axes = PLANE_AXES
) -> Float[Array, "b p n 2"]:
    """Where points fall on each plane: (column, row) in [-1, 1] inside the box.

    Args:
        points: in world units.
        box_warp: side of the box in world units.
    """
    scaled = points * (2.0 / box_warp)
    return jnp.stack([jnp.stack([scaled[..., i] for i in pair], -1) for pair in axes], 1)


def fold_planes(
    planes: Float[Array, "b p h w c"], axes: Axes = PLANE_AXES
) -> tuple[Float[Array, "b q h w c"], Axes]:
    """The fewest planes whose values sum to the mean of the given ones, and their axes; float32.

    A square plane is added to one that runs along the same two axes the other way round, so
    that points are looked up in two planes where the released model has three.
    """
    planes = planes.astype(jnp.float32) / len(axes)
    folded: dict[tuple[int, int], Array] = {}
    for i, pair in enumerate(axes):
        mirrored = pair[::-1]
        if mirrored in folded and planes.shape[2] == planes.shape[3]:
            folded[mirrored] = folded[mirrored] + planes[:, i].swapaxes(1, 2)
        else:
            folded[pair] = planes[:, i]
    return jnp.stack(list(folded.values()), 1), tuple(folded)


def pad_planes(planes: Float[Array, "b p h w c"]) -> Float[Array, "b p g v c"]:
    """Adds a border of zeros, one texel wide, so that sampling needs no masks."""
    return jnp.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))


def sample_padded(
    padded: Float[Array, "b p g v c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b n c"]:
    """Sum of the planes' bilinear values at points; zero outside the box.

    Args:
        padded: planes as pad_planes returns them; those of fold_planes give the mean.
        points: in world units.
        box_warp: side of the box in world units.

    Source: SPEC section 6.
    """
    return _sample(padded, project(points, box_warp, axes), tuple(range(len(axes))))


def sample_planes(
    planes: Float[Array, "b p h w c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b n c"]:
    """Mean of the planes' bilinear values at points in world units; zero outside the box.

    Source: SPEC section 6.
    """
    folded, axes = fold_planes(planes, axes)
    return sample_padded(pad_planes(folded), points, box_warp, axes)


def sample_each_plane(
    planes: Float[Array, "b p h w c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b p n c"]:
    """As sample_planes, one value per plane instead of their mean."""
    padded, grid = pad_planes(planes.astype(jnp.float32)), project(points, box_warp, axes)
    values = [_sample(padded, grid[:, [plane]], (plane,)) for plane in range(len(axes))]
    return jnp.stack(values, 1)


class _Corners(NamedTuple):
    """Where points lie among texels; p planes, m points of all batch entries."""

    first: Int[Array, "p m"]  # row of the table that holds the upper left texel
    right: Float[Array, "p m"]  # in [0, 1], towards the texel to the right
    down: Float[Array, "p m"]  # in [0, 1], towards the texel below


def _sample(padded, grid, planes):
    """Sum over the planes named of their bilinear values at grid [b, p, n, 2]."""
    b, p, g, v, c = padded.shape
    # 0 and h + 1 are the border's centres: everything beyond reads it, with weight one
    column = jnp.clip((grid[..., 0] + 1.0) * (0.5 * (v - 2)) + 0.5, 0.0, v - 1)
    row = jnp.clip((grid[..., 1] + 1.0) * (0.5 * (g - 2)) + 0.5, 0.0, g - 1)
    left = jnp.minimum(jax.lax.stop_gradient(column).astype(jnp.int32), v - 2)
    top = jnp.minimum(jax.lax.stop_gradient(row).astype(jnp.int32), g - 2)
    table = jnp.arange(b, dtype=jnp.int32)[:, None] * p + jnp.array(planes, jnp.int32)
    first = (table * (g * v))[..., None] + top * v + left
    by_plane = lambda x: x.swapaxes(0, 1).reshape(len(planes), -1)
    corners = _Corners(by_plane(first), by_plane(column - left), by_plane(row - top))
    values = _interpolate(padded.reshape(b * p * g * v, c), corners, v)
    return jnp.reshape(values, (b, -1, c))


def _texels(table, first, stride):
    read = lambda offset: table.at[first + offset].get(mode="promise_in_bounds")
    return read(0), read(1), read(stride), read(stride + 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _interpolate(table: Float[Array, "r c"], corners: _Corners, stride: int) -> Float[Array, "m c"]:
    """Sum over planes of bilinear values; `stride` is the table's rows per texel row."""
    total = 0.0
    for first, right, down in zip(*corners, strict=True):
        a, b, c, d = _texels(table, first, stride)
        right, down = right[:, None], down[:, None]
        total += (a * (1 - right) + b * right) * (1 - down) + (c * (1 - right) + d * right) * down
    return total


def _interpolate_forward(table, corners, stride):
    return _interpolate(table, corners, stride), (table, corners)


def _interpolate_backward(stride, saved, grad):
    table, corners = saved
    grad_right, grad_down = [], []
    # the gradient of the position: dead code, and removed, where nobody asks for it
    for first, right, down in zip(*corners, strict=True):
        a, b, c, d = _texels(table, first, stride)
        right, down = right[:, None], down[:, None]
        grad_right.append((grad * ((b - a) * (1 - down) + (d - c) * down)).sum(-1))
        grad_down.append((grad * ((c - a) * (1 - right) + (d - b) * right)).sum(-1))
    grad_table = jax.lax.platform_dependent(
        grad,
        corners,
        cpu=functools.partial(_scatter_in_blocks, jnp.zeros_like(table), stride),
        default=functools.partial(_scatter, jnp.zeros_like(table), stride),
    )
    return grad_table, _Corners(None, jnp.stack(grad_right), jnp.stack(grad_down))


_interpolate.defvjp(_interpolate_forward, _interpolate_backward)


def _scatter(table, stride, grad, corners):
    """Adds each point's gradient to its texels, on each plane."""
    for first, right, down in zip(*corners, strict=True):
        right, down = right[:, None], down[:, None]
        left_part, right_part = grad * (1 - right), grad * right
        for offset, part in (
            (0, left_part * (1 - down)),
            (1, right_part * (1 - down)),
            (stride, left_part * down),
            (stride + 1, right_part * down),
        ):
            table = table.at[first + offset].add(part, mode="promise_in_bounds")
    return table


def _scatter_in_blocks(table, stride, grad, corners):
    """As _scatter, with products small enough for a cache.

    XLA:CPU writes each product of gradient and weight to memory before adding it; with
    65,536 points of 32 channels, blocks of 1,024 take a fifth of the time.
    """
    whole = grad.shape[0] // BLOCK * BLOCK
    blocks = grad[:whole].reshape(-1, BLOCK, grad.shape[1])
    split = lambda x: x[:, :whole].reshape(x.shape[0], -1, BLOCK).swapaxes(0, 1)
    add = lambda table, part: (_scatter(table, stride, *part), None)
    table, _ = jax.lax.scan(add, table, (blocks, jax.tree.map(split, corners)))
    if whole == grad.shape[0]:
        return table
    return _scatter(table, stride, grad[whole:], jax.tree.map(lambda x: x[:, whole:], corners))
