"""Functions of single points, applied to very many of them."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

SMALLEST, LARGEST = 1024, 24576  # points in a block


def map_points(function: Callable, *inputs: Float[Array, "n _"]) -> Float[Array, "n _"]:
    """function(*inputs), on a CPU block by block; its result may be a tuple of arrays.

    A block's intermediate values fit into a core's cache, and the gradient computes them
    again instead of reading them from memory: for a decoder of 64 hidden units, forward and
    gradient take half the time. Accelerators get one call.

    Args:
        function: treats each point alone (axis 0 of its inputs and results); it may use
            arrays from around it, and has gradients for them.
    """
    count = inputs[0].shape[0]
    sizes = (n for n in range(LARGEST, SMALLEST - 1, -1) if count % n == 0)
    size = next(sizes, count)
    if size == count:
        return function(*inputs)

    def in_blocks(*inputs):
        blocks = [x.reshape(-1, size, *x.shape[1:]) for x in inputs]
        once = jax.checkpoint(lambda block: function(*block), prevent_cse=False)
        results = jax.lax.map(once, blocks)
        return jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), results)

    return jax.lax.platform_dependent(*inputs, cpu=in_blocks, default=function)
