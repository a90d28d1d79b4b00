"""Drawing a triangle mesh: which triangle a pixel sees, where in it, and what it shows there.

Only the choice of the triangle is discrete: reference.py makes it in XLA, pallas.py in a kernel.
Barycentric coordinates, depth and attributes follow from it and are differentiable: resolve.py.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from invertavatar_jax.rasterize import pallas, reference
from invertavatar_jax.rasterize.faces import COUNT_CAP, MOST_ENTRIES, Cull
from invertavatar_jax.rasterize.reference import Keys
from invertavatar_jax.rasterize.resolve import Raster, interpolate, resolve

__all__ = [
    "Backend",
    "Raster",
    "draw",
    "find_triangles",
    "first_capacity",
    "fit_capacity",
    "grow_capacity",
    "interpolate",
    "rasterize",
    "resolve",
]

Backend = Literal["xla", "pallas", "pallas_interpret"]

LEAST_CAPACITY = 2**14
LARGEST_CAPACITY = MOST_ENTRIES  # the arrays of such a list take about 2 GiB
STEPS = 8  # list lengths from one power of two to the next: each is compiled anew


def rasterize(
    vertices: Float[Array, "*b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    cull: Cull = "none",
    perspective: bool = False,
    keys: Keys | None = None,
    backend: Backend | None = None,
    largest_capacity: int = LARGEST_CAPACITY,
) -> Raster:
    """Draws one mesh in one or many views. Not for use inside jit: see `draw`.

    Args:
        vertices: x, y in pixels (the first pixel's centre is (.5, .5)) and z, smallest =
            nearest; leading axes are views.
        cull: the winding, as seen with row 0 at the top, that is not drawn.
        perspective: z is the distance along a pinhole camera's axis: coordinates, depth and
            the choice of the nearest are then correct in perspective, and triangles with a
            corner at z <= 0 are not drawn. Otherwise all are affine on the screen.
        keys: of the XLA backend; see `reference.triangle_ids`.
        backend: see `find_triangles`.

    Raises:
        ValueError: if the triangles' boxes hold more than `largest_capacity` blocks or tiles.
    """
    options = dict(cull=cull, perspective=perspective, keys=keys, backend=backend)
    run = functools.partial(_draw_jit, vertices, triangles, height, width, **options)
    views = vertices[..., 0, 0].size
    return grow_capacity(
        lambda capacity: run(capacity=capacity),
        start=first_capacity(views, triangles.shape[0], height, width),
        largest=largest_capacity,
    )


def draw(
    vertices: Float[Array, "*b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    perspective: bool = False,
    keys: Keys | None = None,
    backend: Backend | None = None,
) -> tuple[Raster, Int[Array, ""]]:
    """As `rasterize`, for use inside jit, with a list of static length.

    Returns:
        the raster, and the length that was needed: if it exceeds `capacity` the raster is
        wrong, and the caller has to repeat with more (see `grow_capacity`).
    """
    views = vertices.reshape(-1, *vertices.shape[-2:])
    x, y, z = (views[..., axis] for axis in range(3))
    if perspective:  # 1 / z is affine on the screen, z is not
        z = jnp.where(z > 0, -1 / jnp.where(z > 0, z, 1.0), jnp.nan)
    ids, needed = find_triangles(
        jnp.stack([x, y, z], -1),
        triangles,
        height,
        width,
        capacity=capacity,
        cull=cull,
        keys=keys,
        backend=backend,
    )
    ids = ids.reshape(*vertices.shape[:-2], height, width)
    return resolve(vertices, triangles, ids, perspective=perspective), needed


_SHAPES = ("height", "width", "capacity", "cull", "perspective", "keys", "backend")
_draw_jit = jax.jit(draw, static_argnames=_SHAPES)


def find_triangles(
    vertices: Float[Array, "b v 3"],
    triangles: Int[Array, "f 3"],
    height: int,
    width: int,
    *,
    capacity: int,
    cull: Cull = "none",
    keys: Keys | None = None,
    backend: Backend | None = None,
) -> tuple[Int[Array, "b h w"], Int[Array, ""]]:
    """The nearest triangle of each pixel, or -1, and the list length that is needed.

    Args:
        vertices: see `reference.triangle_ids`.
        backend: "xla" runs on every device; "pallas" on Nvidia GPUs; "pallas_interpret" is the
            latter's kernel as XLA operations on every device, slow. None is "xla".

    Raises:
        ValueError: the backend is none of these, or the device cannot run it.
    """
    inputs = vertices, triangles, height, width
    if backend in (None, "xla"):
        return reference.triangle_ids(*inputs, capacity=capacity, cull=cull, keys=keys)
    if backend in ("pallas", "pallas_interpret"):
        interpret = backend == "pallas_interpret"
        return pallas.triangle_ids(*inputs, capacity=capacity, cull=cull, interpret=interpret)
    raise ValueError(f"backend is {backend!r}: expected xla, pallas or pallas_interpret")


def grow_capacity(
    run: Callable[[int], tuple[Any, Int[Array, ""]]], start: int, largest: int = LARGEST_CAPACITY
) -> Any:
    """Calls run(capacity) -> (result, needed) with longer lists until the list suffices.

    Raises:
        ValueError: if more than `largest` is needed.
    """
    capacity = min(start, largest)
    while True:
        result, needed = run(capacity)
        needed = int(needed)
        if needed <= capacity:
            return result
        if needed > largest:
            size = f"{needed}" if needed < COUNT_CAP else "over 2^30"
            raise ValueError(
                f"the mesh covers {size} pieces of the image but the largest list holds {largest}: "
                "draw fewer views at once, or a smaller image"
            )
        capacity = min(fit_capacity(needed), largest)


def first_capacity(views: int, triangles: int, height: int, width: int) -> int:
    """A list length that suffices for heads that fill the image."""
    guess = views * 3 * (triangles + height * width) // 4
    return min(fit_capacity(max(guess, LEAST_CAPACITY)), LARGEST_CAPACITY)


def fit_capacity(needed: int) -> int:
    """The list length to ask for: the next of a few, so that few programs are compiled."""
    step = max(power_of_two(needed) // (2 * STEPS), 1)
    return -(-needed // step) * step


def power_of_two(count: int) -> int:
    """The smallest power of two that is not below `count`."""
    return 1 << max(count - 1, 0).bit_length()
