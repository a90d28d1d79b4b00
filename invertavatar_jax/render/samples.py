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


def merge_ranks(
    first: Float[Array, "*rays s"], second: Float[Array, "*rays m"]
) -> Int[Array, "*rays n"]:
    """Where each entry of two ascending lists of depths stands among all, without sorting.

    Returns:
        For the n = s + m entries of the concatenated lists, their places in ascending order;
        on equal depths entries of `first` come first.
    """
    s, m = first.shape[-1], second.shape[-1]
    not_above = _count_not_above(first, second)
    # an entry of `first` has those of `second` below it that have at most itself's index below
    flat = not_above.reshape(-1, m)
    rows = jnp.arange(flat.shape[0])[:, None]
    histogram = jnp.zeros((flat.shape[0], s + 1), jnp.float32).at[rows, flat].add(1.0)
    through = jnp.triu(jnp.ones((s, s), jnp.float32))  # small whole numbers: the sums are exact
    below = jnp.matmul(histogram[:, :s], through, precision=jax.lax.Precision.HIGHEST)
    rank_first = below.astype(jnp.int32).reshape(first.shape) + jnp.arange(s)
    return jnp.concatenate([rank_first, not_above + jnp.arange(m)], -1)


@jax.custom_vjp
def to_order(x: Float[Array, "*rays n"], rank: Int[Array, "*rays n"]) -> Float[Array, "*rays n"]:
    """Moves each entry to its rank."""
    flat = rank.reshape(-1, rank.shape[-1])
    rows = jnp.arange(flat.shape[0])[:, None]
    # a scatter: XLA:CPU would merge a gather with what follows and compute that unvectorised
    moved = jnp.zeros(flat.shape, x.dtype).at[rows, flat]
    moved = moved.set(x.reshape(flat.shape), mode="promise_in_bounds", unique_indices=True)
    return moved.reshape(x.shape)


@jax.custom_vjp
def from_order(x: Float[Array, "*rays n"], rank: Int[Array, "*rays n"]) -> Float[Array, "*rays n"]:
    """The inverse of to_order."""
    return _take(x, rank)


# ranks are a permutation, so each is the other's transpose
to_order.defvjp(
    lambda x, rank: (to_order(x, rank), rank), lambda rank, grad: (_take(grad, rank), None)
)
from_order.defvjp(
    lambda x, rank: (from_order(x, rank), rank), lambda rank, grad: (to_order(grad, rank), None)
)


def _take(x, index):
    return jnp.take_along_axis(x, index, -1, mode="promise_in_bounds")


def _count_not_above(ascending, values):
    """How many entries of `ascending` are <= each value."""
    # every entry beside every value, in registers: a third of a binary search's time
    entries = jnp.moveaxis(ascending, -1, 0)[..., None]
    none = jnp.zeros(values.shape, jnp.int32)
    return sum(((entry <= values).astype(jnp.int32) for entry in entries), none)
