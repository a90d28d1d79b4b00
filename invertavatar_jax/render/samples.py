"""Where along its ray a sample is taken: evenly, then where the density is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

FLOOR = 0.01  # added to the smoothed weights: empty space still gets a few samples
PDF_EPSILON = 1e-5  # keeps the distribution defined for rays without weight
FLAT = 1e-5  # a step of the distribution below this is not divided by


def stratified(
    near: Float[Array, "..."],
    far: Float[Array, "..."],
    count: int,
    jitter: Float[Array, "*rays s"] | None = None,
) -> Float[Array, "*rays s"]:
    """Evenly spaced distances from near to far, both included; ascending.

    Args:
        jitter: in [0, 1), moves each distance towards the next one; None moves none and
            returns one row for all rays.

    Source: SPEC section 6.
    """
    step = (far - near) / (count - 1)
    even = near + step * jnp.arange(count, dtype=jnp.float32)
    return even if jitter is None else even + jitter * step


def invert_cdf(
    knots: Float[Array, "*rays k"], weights: Float[Array, "*rays n"], u: Float[Array, "*rays m"]
) -> Float[Array, "*rays m"]:
    """Positions between knots below which the fraction u of the weights lies.

    The weights are piecewise constant: the i-th one lies between knots i and i + 1.

    Args:
        knots: ascending, k > n; those after the first n + 1 are not used.
        weights: not negative.
        u: in [0, 1].

    Source: SPEC section 6.
    """
    n = weights.shape[-1]
    padded = weights + PDF_EPSILON
    steps = padded / padded.sum(-1, keepdims=True)
    cdf = jnp.concatenate([jnp.zeros_like(steps[..., :1]), jnp.cumsum(steps, -1)], -1)
    u = jnp.broadcast_to(u, (*weights.shape[:-1], u.shape[-1]))
    right = _count_not_above(cdf, u)
    low, high = jnp.maximum(right - 1, 0), jnp.minimum(right, n)
    cdf_low, cdf_high = _take(cdf, low), _take(cdf, high)
    knot_low, knot_high = _take(knots, low), _take(knots, high)
    width = cdf_high - cdf_low
    width = jnp.where(width < FLAT, 1.0, width)
    return knot_low + (u - cdf_low) / width * (knot_high - knot_low)


def importance(
    depth: Float[Array, "*rays s"], weights: Float[Array, "*rays t"], u: Float[Array, "*rays m"]
) -> Float[Array, "*rays m"]:
    """Distances drawn where the coarse samples have weight; carries no gradient.

    Args:
        depth: of the s coarse samples, ascending.
        weights: of the t = s - 1 intervals between them.
        u: in [0, 1]; distances are ascending where u is.

    Source: SPEC section 6. As released, the weights' first and last intervals and the last
    midpoint go unused, which shifts the samples by half an interval towards the camera.
    """
    depth, weights = jax.lax.stop_gradient((depth, weights))
    low, high = weights[..., :-1], weights[..., 1:]
    peak = jnp.maximum(low, high)  # of neighbours; the ends stand alone
    peak = jnp.concatenate([weights[..., :1], peak, weights[..., -1:]], -1)
    smooth = 0.5 * (peak[..., 1:] + peak[..., :-1]) + FLOOR
    middle = 0.5 * (depth[..., 1:] + depth[..., :-1])
    return invert_cdf(middle, smooth[..., 1:-1], u)


def merge_order(
    first: Float[Array, "*rays s"], second: Float[Array, "*rays m"]
) -> tuple[Int[Array, "*rays n"], Int[Array, "*rays n"]]:
    """How two ascending lists of depths interleave, without sorting.

    Returns:
        order: indices into the concatenated lists, in ascending order of depth.
        rank: its inverse: the place of each concatenated entry in that order.

    On equal depths entries of `first` come first.
    """
    s, m = first.shape[-1], second.shape[-1]
    rank_first = _count_below(second, first) + jnp.arange(s)
    rank_second = _count_not_above(first, second) + jnp.arange(m)
    rank = jnp.concatenate([rank_first, rank_second], -1)
    flat = rank.reshape(-1, s + m)
    rows = jnp.arange(flat.shape[0])[:, None]
    places = jnp.broadcast_to(jnp.arange(s + m, dtype=jnp.int32), flat.shape)
    order = (
        jnp.zeros_like(flat)
        .at[rows, flat]
        .set(places, mode="promise_in_bounds", unique_indices=True)
    )
    return order.reshape(rank.shape), rank


@jax.custom_vjp
def permute(
    x: Float[Array, "*rays n"], order: Int[Array, "*rays n"], rank: Int[Array, "*rays n"]
) -> Float[Array, "*rays n"]:
    """x in the order given; `rank` is the inverse of `order`, so the gradient is a gather."""
    return _take(x, order)


def _permute_forward(x, order, rank):
    return _take(x, order), (order, rank)


def _permute_backward(saved, grad):
    return _take(grad, saved[1]), None, None


permute.defvjp(_permute_forward, _permute_backward)


def _take(x, index):
    return jnp.take_along_axis(x, index, -1, mode="promise_in_bounds")


def _search(ascending, values, side):
    search = lambda a, v: jnp.searchsorted(a, v, side=side)
    rows = jax.vmap(search)(
        ascending.reshape(-1, ascending.shape[-1]), values.reshape(-1, values.shape[-1])
    )
    return rows.reshape(values.shape).astype(jnp.int32)


def _count_not_above(ascending, values):
    """How many entries of `ascending` are <= each value."""
    return _search(ascending, values, "right")


def _count_below(ascending, values):
    """How many entries of `ascending` are < each value."""
    return _search(ascending, values, "left")
