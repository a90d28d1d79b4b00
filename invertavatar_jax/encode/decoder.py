"""The U-Net decoder of E_tex and E_tri: skips of several frames -> one feature map a level."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from invertavatar_jax import settings
from invertavatar_jax.encode.backbone import Levels
from invertavatar_jax.encode.transformer import Transformer
from invertavatar_jax.layers import BatchNorm, Conv, PReLU
from invertavatar_jax.ops.resize import pixel_shuffle

# Makes a module with `fold(frames [t b h w c], memory or None) -> features [b h w c], memory`.
# The memory is a tree of arrays that has seen these frames and those before; zeros have seen none.
Aggregator = Callable[..., nn.Module]
Mixer = Callable[..., nn.Module]  # makes a module `[n h w c] -> [n h w c]`
LevelMemory = PyTree[Float[Array, "..."]]
Memory = tuple[LevelMemory, ...]  # one tree per level, deepest first; () without an aggregator


class Decoded(NamedTuple):
    """What the levels give, deepest first, and what the next chunk needs."""

    features: tuple[Float[Array, "b _ _ _"], ...]
    memory: Memory


class DoubleConv(nn.Module):
    """Normalisation and two convolutions; the last rectifier is applied twice, as released."""

    features: int
    batch_statistics: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h w o"]:
        x = BatchNorm(self.batch_statistics, name="double_conv_0")(x)
        x = PReLU(name="double_conv_2")(Conv(self.features, name="double_conv_1")(x))
        x = PReLU(name="double_conv_4")(Conv(self.features, name="double_conv_3")(x))
        return PReLU(name="double_conv_5")(x)


class Up(nn.Module):
    """One level: joins a skip with the deeper level, and aggregates over the frames.

    A deep input at half of the skip's resolution is pixel-shuffled. One without frames of
    its own (t = 1) is shared by all frames of the skip. With no aggregator t must be 1. A
    mixer, where there is one, sees what was joined before the convolutions do.

    Source: paper 3.4; SPEC sections 9.2, 9.4.
    """

    features: int
    aggregator: Aggregator | None = None
    batch_statistics: bool = False
    mixer: Mixer | None = None
    aggregator_name: str = "conv_gru"  # of its weights

    def __call__(
        self,
        skip: Float[Array, "t b h w i"],
        deep: Float[Array, "s b _ _ _"],
        memory: LevelMemory | None = None,
    ) -> Float[Array, "b h w o"]:
        """The features of `fold`."""
        return self.fold(skip, deep, memory)[0]

    @nn.compact
    def fold(
        self,
        skip: Float[Array, "t b h w i"],
        deep: Float[Array, "s b _ _ _"],
        memory: LevelMemory | None,
    ) -> tuple[Float[Array, "b h w o"], LevelMemory]:
        """Features, and the memory of all frames so far: () without an aggregator."""
        t, b, h, w, _ = skip.shape
        if deep.shape[2] != h:
            deep = pixel_shuffle(deep.reshape(-1, *deep.shape[2:]), 2)
            deep = deep.reshape(-1, b, *deep.shape[1:])
        deep = jnp.broadcast_to(deep, (t, *deep.shape[1:])).astype(skip.dtype)
        x = jnp.concatenate([skip, deep], axis=-1).reshape(t * b, h, w, -1)
        if self.mixer is not None:
            wide = jnp.promote_types(x.dtype, jnp.float32)
            x = self.mixer(name="transformer")(x.astype(wide)).astype(skip.dtype)
        x = DoubleConv(self.features, self.batch_statistics, name="conv")(x)
        x = x.reshape(t, b, h, w, self.features)
        if self.aggregator is not None:
            return self.aggregator(name=self.aggregator_name).fold(x, memory)
        if t != 1:
            raise ValueError(f"got {t} frames, expected 1: this decoder has no aggregator")
        return x[0], ()


def decode(
    sizes: settings.Decoder,
    levels: Levels,
    frames: int,
    memory: Memory | None,
    *,
    aggregator: Aggregator | None,
    batch_statistics: bool,
) -> Decoded:
    """Runs all levels, deepest first; call it in a compact module, which owns the layers.

    A level folds all frames of the chunk before the next level starts, and what it ends
    with is the deep input for every frame there. So the result for two chunks, the second
    with the memory of the first, is not that for their union: it is causal per chunk.

    Args:
        levels: of all frames, which are the slowest part of the leading axis.
        memory: of the frames before, None at the start.

    Source: paper 3.4; SPEC sections 9.2, 9.3, 9.4.
    """
    in_time = lambda x: x.reshape(frames, -1, *x.shape[1:])
    deep = in_time(levels.stages[-1])
    skips = (levels.entry, *levels.stages[-2::-1])
    mixers = _mixers(sizes)
    states: list[tuple[Float[Array, "b _ _ _"], LevelMemory]] = []
    for i, (features, skip) in enumerate(zip(sizes.channels, skips, strict=True)):
        before = None if memory is None else memory[i]
        options = (aggregator, batch_statistics, mixers[i], sizes.aggregator)
        up = Up(features, *options, name=f"up{i + 1}")
        states.append(up.fold(in_time(skip), deep, before))
        deep = states[-1][0][None]
    made, kept = zip(*states, strict=True)
    return Decoded(made, () if aggregator is None else kept)


def _mixers(sizes: settings.Decoder) -> list[Mixer | None]:
    """The transformer of each level, for decoders that have them."""
    if not sizes.vit_depths:
        return [None] * len(sizes.channels)
    if len(sizes.vit_depths) != len(sizes.channels):
        raise ValueError(f"got {sizes}, expected as many vit_depths as channels")
    make = lambda depth: functools.partial(Transformer, depth, sizes.vit_channels, sizes.vit_heads)
    return [make(depth) for depth in sizes.vit_depths]
