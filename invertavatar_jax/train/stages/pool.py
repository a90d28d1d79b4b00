"""A pool of earlier samples, so that a discriminator does not only see the latest ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Pool(NamedTuple):
    """At most n codes."""

    codes: Float[Array, "n d"]
    count: Int[Array, ""]  # the first of them that are filled


def empty(size: int, width: int) -> Pool:
    """A pool for `size` codes that holds none."""
    return Pool(jnp.zeros((size, width)), jnp.zeros((), jnp.int32))


def exchange(
    pool: Pool, codes: Float[Array, "b d"], key: jax.Array
) -> tuple[Pool, Float[Array, "b d"]]:
    """Puts codes in, one after the other, and gives as many back.

    A pool with room keeps a code and gives it back too. A full one does, with even chances,
    either nothing, or keeps the code in place of a random one, which it gives back.

    Source: TRAINING B ("pool").
    """
    size = pool.codes.shape[0]

    def one(pool: Pool, code_and_key):
        code, key = code_and_key
        key_place, key_swap = jax.random.split(key)
        full = pool.count == size
        place = jnp.where(full, jax.random.randint(key_place, (), 0, size), pool.count)
        swap = full & jax.random.bernoulli(key_swap)
        given = jnp.where(swap, pool.codes[place], code)
        kept = jnp.where(swap | ~full, code, pool.codes[place])
        return Pool(pool.codes.at[place].set(kept), jnp.minimum(pool.count + 1, size)), given

    return jax.lax.scan(one, pool, (codes, jax.random.split(key, len(codes))))
