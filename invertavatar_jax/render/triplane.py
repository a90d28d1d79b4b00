"""Features of points in space, read from three axis-aligned planes."""

import functools

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
    return jnp.stack([scaled[..., jnp.array(pair)] for pair in axes], 1)


def pad_planes(planes: Float[Array, "b p h w c"]) -> Float[Array, "b p g v c"]:
    """Adds a border of zeros, one texel wide, so that sampling needs no masks."""
    return jnp.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))


def sample_padded(
    padded: Float[Array, "b p g v c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b n c"]:
    """Mean of the planes' bilinear values at points; zero outside the box.

    Args:
        padded: planes as pad_planes returns them.
        points: in world units.
        box_warp: side of the box in world units.

    Source: SPEC section 6.
    """
    grid = project(points, box_warp, axes)
    values = [_sample_plane(padded, grid[:, plane], plane) for plane in range(len(axes))]
    return sum(values[1:], values[0]) / len(axes)


def sample_planes(
    planes: Float[Array, "b p h w c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b n c"]:
    """Mean of the planes' bilinear values at points in world units; zero outside the box.

    Source: SPEC section 6.
    """
    return sample_padded(pad_planes(planes), points, box_warp, axes)


def sample_each_plane(
    planes: Float[Array, "b p h w c"],
    points: Float[Array, "b n 3"],
    box_warp: float,
    axes: Axes = PLANE_AXES,
) -> Float[Array, "b p n c"]:
    """As sample_planes, one value per plane instead of their mean."""
    padded, grid = pad_planes(planes), project(points, box_warp, axes)
    values = [_sample_plane(padded, grid[:, plane], plane) for plane in range(len(axes))]
    return jnp.stack(values, 1)


def _sample_plane(padded, grid, plane):
    """Bilinear values of one plane of each batch entry at grid [b, n, 2]."""
    b, p, g, v, c = padded.shape
    # 0 and h + 1 are the border's centres: everything beyond reads it, with weight one
    column = jnp.clip((grid[..., 0] + 1.0) * (0.5 * (v - 2)) + 0.5, 0.0, v - 1)
    row = jnp.clip((grid[..., 1] + 1.0) * (0.5 * (g - 2)) + 0.5, 0.0, g - 1)
    left = jnp.minimum(jax.lax.stop_gradient(column).astype(jnp.int32), v - 2)
    top = jnp.minimum(jax.lax.stop_gradient(row).astype(jnp.int32), g - 2)
    start = (jnp.arange(b, dtype=jnp.int32)[:, None] * p + plane) * (g * v)
    corner = (start + top * v + left).reshape(-1)
    right = (column - left).reshape(-1, 1)
    down = (row - top).reshape(-1, 1)
    values = _interpolate(padded.reshape(b * p * g * v, c), corner, right, down, v)
    return values.reshape(*grid.shape[:-1], c)


def _corners(rows, corner, stride):
    read = lambda offset: rows.at[corner + offset].get(mode="promise_in_bounds")
    return read(0), read(1), read(stride), read(stride + 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _interpolate(
    rows: Float[Array, "r c"],
    corner: Int[Array, " n"],
    right: Float[Array, "n 1"],
    down: Float[Array, "n 1"],
    stride: int,
) -> Float[Array, "n c"]:
    """Bilinear mean of the four texels at corner, + 1, + stride, + stride + 1."""
    a, b, c, d = _corners(rows, corner, stride)
    return (a * (1 - right) + b * right) * (1 - down) + (c * (1 - right) + d * right) * down


def _interpolate_forward(rows, corner, right, down, stride):
    return _interpolate(rows, corner, right, down, stride), (rows, corner, right, down)


def _interpolate_backward(stride, saved, grad):
    rows, corner, right, down = saved
    # the gradient of the position: dead code, and removed, where nobody asks for it
    a, b, c, d = _corners(rows, corner, stride)
    along = (b - a) * (1 - down) + (d - c) * down
    across = (c - a) * (1 - right) + (d - b) * right
    grad_right = (grad * along).sum(-1, keepdims=True)
    grad_down = (grad * across).sum(-1, keepdims=True)
    grad_rows = jax.lax.platform_dependent(
        grad,
        corner,
        right,
        down,
        cpu=functools.partial(_scatter_in_blocks, rows.shape[0], stride),
        default=functools.partial(_scatter, jnp.zeros_like(rows), stride),
    )
    return grad_rows, None, grad_right, grad_down


_interpolate.defvjp(_interpolate_forward, _interpolate_backward)


def _scatter(rows, stride, grad, corner, right, down):
    """Adds each point's gradient to its four texels."""
    left_part, right_part = grad * (1 - right), grad * right
    for offset, part in (
        (0, left_part * (1 - down)),
        (1, right_part * (1 - down)),
        (stride, left_part * down),
        (stride + 1, right_part * down),
    ):
        rows = rows.at[corner + offset].add(part, mode="promise_in_bounds")
    return rows


def _scatter_in_blocks(row_count, stride, grad, corner, right, down):
    """As _scatter, for caches: XLA:CPU writes the four products of a block to memory first.

    With 65,536 points of 32 channels, blocks of 1,024 take a fifth of one call's time.
    """
    rows = jnp.zeros((row_count, grad.shape[-1]), grad.dtype)
    whole = grad.shape[0] // BLOCK * BLOCK
    points = (grad, corner, right, down)
    head = [x[:whole].reshape(-1, BLOCK, *x.shape[1:]) for x in points]
    rows, _ = jax.lax.scan(lambda rows, x: (_scatter(rows, stride, *x), None), rows, head)
    return _scatter(rows, stride, *[x[whole:] for x in points])
