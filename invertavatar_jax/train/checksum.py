"""Checksums of states: exact, on any number of devices, without gathering anything."""

import hashlib
import io
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from invertavatar_jax.train import rows

FILE = "checksums.jsonl"  # of a run's folder: what `replay` compares
_BITS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}


@jax.jit
def _sums(leaves):
    return jnp.stack([_sums_of_one(leaf) for leaf in leaves])


def _sums_of_one(leaf):
    """Sums of a leaf's bits, plain and by position, modulo 2^32: their order does not matter."""
    kind = _BITS[leaf.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(leaf, kind).astype(jnp.uint32)
    place = jnp.ones(leaf.shape, jnp.uint32)
    for axis, size in enumerate(leaf.shape):
        place = place * jnp.uint32(size | 1) + jax.lax.broadcasted_iota(
            jnp.uint32, leaf.shape, axis
        )
    return jnp.stack([bits.sum(dtype=jnp.uint32), (bits * place).sum(dtype=jnp.uint32)])


def checksum(tree: Any) -> jax.Array:
    """Two numbers of every leaf of a tree; see `digest`. Computed where the leaves are."""
    return _sums([leaf for leaf in jax.tree.leaves(tree) if leaf.size])


def names(tree: Any) -> list[str]:
    """Paths of the leaves that `checksum` has numbers of, in its order."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [
        jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in found if leaf.size
    ]


def digest(sums: jax.Array) -> str:
    """A checksum in hexadecimal: trees that differ in a bit nearly always differ in it."""
    return hashlib.sha256(np.asarray(sums).tobytes()).hexdigest()


def sha256(tree: Any) -> str:
    """The SHA-256 of all leaves' bytes, names and shapes; of trees that are here as a whole."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


class Noted(NamedTuple):
    """What a run has written down of a state."""

    checksum: str  # of all
    leaves: tuple[str, ...]  # a few digits of each leaf, in the order of `names`


def noted(sums: jax.Array) -> Noted:
    """A checksum as a run writes it down."""
    short = lambda row: hashlib.sha256(row.tobytes()).hexdigest()[:8]
    return Noted(digest(sums), tuple(short(row) for row in np.asarray(sums)))


def note(file: io.FileIO, step: int, sums: jax.Array) -> None:
    """Appends a step's checksum to a run's file.

    Raises:
        UserError: no space is left on the disk.
    """
    found = noted(sums)
    rows.append(file, {"step": step, "checksum": found.checksum, "leaves": " ".join(found.leaves)})


def read(run: str | pathlib.Path) -> dict[int, Noted]:
    """What a run has written, by step; steps run again after a kill stand once."""
    found = rows.read(pathlib.Path(run) / FILE)
    return {row["step"]: Noted(row["checksum"], tuple(row["leaves"].split())) for row in found}
