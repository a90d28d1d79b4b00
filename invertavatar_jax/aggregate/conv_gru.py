"""Temporal aggregation: a convolutional gated recurrent unit folds frames into a memory."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from invertavatar_jax.aggregate.fold import fold
from invertavatar_jax.ops.conv import conv2d

KERNEL = 3


def apply_gate(
    gate: PyTree[Float[Array, "..."]], x: Float[Array, "b h w i"]
) -> Float[Array, "b h w o"]:
    """A convolution in the type of x, with the weights of a `Gate`."""
    weight, bias = (gate[leaf].astype(x.dtype) for leaf in ("weight", "bias"))
    return conv2d(x, weight, 1, KERNEL // 2) + bias


def no_memory(frames: Float[Array, "t b h w c"]) -> Float[Array, "b h w c"]:
    """The state before the first frame: zeros, in float32 at least."""
    return jnp.zeros(frames.shape[1:], jnp.promote_types(frames.dtype, jnp.float32))


def update(
    gates: PyTree[Float[Array, "..."]],
    memory: Float[Array, "b h w c"],
    frame: Float[Array, "b h w c"],
) -> Float[Array, "b h w c"]:
    """Updates the memory with one frame's features; convolves in the type of the frame.

    Args:
        gates: `ih_0` (reset and update gates) and `hh_0` (candidate), each with `weight`
            and `bias`.

    Source: paper Eq. 1; SPEC section 9.2.
    Deviation: as in the released code the update gate z weighs the candidate and 1 - z the
        memory, where the paper's equation has them the other way round.
    """

    def conv(name: str, state: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        x = jnp.concatenate([frame, state.astype(frame.dtype)], axis=-1)
        return apply_gate(gates[name], x).astype(memory.dtype)

    reset, renew = jnp.split(jax.nn.sigmoid(conv("ih_0", memory)), 2, axis=-1)
    candidate = jnp.tanh(conv("hh_0", reset * memory))
    return (1 - renew) * memory + renew * candidate


def aggregate(
    gates: PyTree[Float[Array, "..."]],
    frames: Float[Array, "t b h w c"],
    memory: Float[Array, "b h w c"],
    *,
    remat: bool = True,
    segment: int | None = None,
) -> Float[Array, "b h w c"]:
    """Folds t frames into the memory, in order; resumable at any frame.

    Args:
        remat, segment: what the backward pass keeps; see fold.fold.
    """
    return fold(update, gates, memory, frames, remat=remat, segment=segment)


class Gate(nn.Module):
    """The weights of a convolution, so that a scan can close over them."""

    inputs: int
    features: int

    @nn.compact
    def __call__(self) -> dict[str, Float[Array, "..."]]:
        shape = (KERNEL, KERNEL, self.inputs, self.features)
        return {
            "weight": self.param("weight", nn.initializers.lecun_normal(), shape),
            "bias": self.param("bias", nn.initializers.zeros, (self.features,)),
        }


class ConvGRU(nn.Module):
    """Owns the gates' weights and folds frames with them; see `aggregate`.

    An aggregator (see registry) whose features are its memory.

    Attributes:
        run: fold.fold, or distributed.fold_over_devices with a Spread.
    """

    remat: bool = True
    run: Callable[..., Any] = fold

    @nn.compact
    def __call__(
        self, frames: Float[Array, "t b h w c"], memory: Float[Array, "b h w c"] | None
    ) -> Float[Array, "b h w c"]:
        channels = frames.shape[-1]
        gates = {
            "ih_0": Gate(2 * channels, 2 * channels, name="ih_0")(),
            "hh_0": Gate(2 * channels, channels, name="hh_0")(),
        }
        if memory is None:
            memory = no_memory(frames)
        return self.run(update, gates, memory, frames, remat=self.remat)

    def fold(
        self, frames: Float[Array, "t b h w c"], memory: Float[Array, "b h w c"] | None
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
        """Features and memory, which are the same."""
        memory = self(frames, memory)
        return memory, memory
