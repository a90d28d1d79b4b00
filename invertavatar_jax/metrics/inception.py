"""The Inception of FID: the network of 2015 that all published FIDs are measured with.

Names are those of the published state dict, pt_inception-2015-12-05. It is torchvision's
Inception v3 but for three things: averages over windows do not count the padding, the last
block takes a maximum in the place of its average, and the classifier, which FID does not use,
has 1,008 outputs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from invertavatar_jax.convert import checkpoint
from invertavatar_jax.convert.names import import_weights
from invertavatar_jax.errors import UserError
from invertavatar_jax.export.picture import to_uint8
from invertavatar_jax.layers import BatchNorm
from invertavatar_jax.metrics.fid import Extractor
from invertavatar_jax.metrics.metric import fingerprints, need_files
from invertavatar_jax.ops.resize import resize_bilinear
from invertavatar_jax.pure import Weights, pure

SIDE, FEATURES, OUTPUTS = 299, 2048, 1008
FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d"  # how it begins, as in the file's name
PUBLISHED = f"{FILE} of the release fid_weights of mseitzer/pytorch-fid on GitHub"
BATCH = 16  # pictures in one call of the network


class Unit(NamedTuple):
    """A convolution, batch normalisation and a rectifier."""

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True  # so that the size stays, but for the stride


class Fork(NamedTuple):
    """Two units beside each other, whose outputs are joined."""

    left: Unit
    right: Unit


Branch = tuple[Unit | Fork, ...]


class Block(NamedTuple):
    """Branches beside each other, then one that pools first; their outputs are joined."""

    name: str
    branches: tuple[Branch, ...]
    pool: str  # "average", "maximum", or "halve": a maximum that halves the size
    projected: int = 0  # features of the unit after the pool; 0: there is none


def _block_a(name: str, projected: int) -> Block:
    one = (Unit("branch1x1", 64),)
    five = (Unit("branch5x5_1", 48), Unit("branch5x5_2", 64, (5, 5)))
    double = (
        Unit("branch3x3dbl_1", 64),
        Unit("branch3x3dbl_2", 96, (3, 3)),
        Unit("branch3x3dbl_3", 96, (3, 3)),
    )
    return Block(name, (one, five, double), "average", projected)


def _block_b(name: str) -> Block:
    halve = {"kernel": (3, 3), "stride": 2, "padded": False}
    three = (Unit("branch3x3", 384, **halve),)
    double = (
        Unit("branch3x3dbl_1", 64),
        Unit("branch3x3dbl_2", 96, (3, 3)),
        Unit("branch3x3dbl_3", 96, **halve),
    )
    return Block(name, (three, double), "halve")


def _block_c(name: str, inner: int) -> Block:
    wide, tall = (1, 7), (7, 1)
    one = (Unit("branch1x1", 192),)
    seven = (
        Unit("branch7x7_1", inner),
        Unit("branch7x7_2", inner, wide),
        Unit("branch7x7_3", 192, tall),
    )
    double = (
        Unit("branch7x7dbl_1", inner),
        Unit("branch7x7dbl_2", inner, tall),
        Unit("branch7x7dbl_3", inner, wide),
        Unit("branch7x7dbl_4", inner, tall),
        Unit("branch7x7dbl_5", 192, wide),
    )
    return Block(name, (one, seven, double), "average", 192)


def _block_d(name: str) -> Block:
    halve = {"kernel": (3, 3), "stride": 2, "padded": False}
    three = (Unit("branch3x3_1", 192), Unit("branch3x3_2", 320, **halve))
    seven = (
        Unit("branch7x7x3_1", 192),
        Unit("branch7x7x3_2", 192, (1, 7)),
        Unit("branch7x7x3_3", 192, (7, 1)),
        Unit("branch7x7x3_4", 192, **halve),
    )
    return Block(name, (three, seven), "halve")


def _block_e(name: str, pool: str) -> Block:
    split = lambda start: Fork(Unit(start + "a", 384, (1, 3)), Unit(start + "b", 384, (3, 1)))
    one = (Unit("branch1x1", 320),)
    three = (Unit("branch3x3_1", 384), split("branch3x3_2"))
    double = (
        Unit("branch3x3dbl_1", 448),
        Unit("branch3x3dbl_2", 384, (3, 3)),
        split("branch3x3dbl_3"),
    )
    return Block(name, (one, three, double), pool, 192)


# What comes before the blocks; None halves the size by a maximum.
STEM = (
    Unit("Conv2d_1a_3x3", 32, (3, 3), 2, padded=False),
    Unit("Conv2d_2a_3x3", 32, (3, 3), padded=False),
    Unit("Conv2d_2b_3x3", 64, (3, 3)),
    None,
    Unit("Conv2d_3b_1x1", 80),
    Unit("Conv2d_4a_3x3", 192, (3, 3), padded=False),
    None,
)
BLOCKS = (
    _block_a("Mixed_5b", 32),
    _block_a("Mixed_5c", 64),
    _block_a("Mixed_5d", 64),
    _block_b("Mixed_6a"),
    _block_c("Mixed_6b", 128),
    _block_c("Mixed_6c", 160),
    _block_c("Mixed_6d", 160),
    _block_c("Mixed_6e", 192),
    _block_d("Mixed_7a"),
    _block_e("Mixed_7b", "average"),
    _block_e("Mixed_7c", "maximum"),
)


class _Correlation(nn.Module):
    unit: Unit

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        height, width = self.unit.kernel
        shape = (height, width, x.shape[-1], self.unit.features)
        weight = self.param("weight", nn.initializers.lecun_normal(), shape)
        padding = [(n // 2, n // 2) if self.unit.padded else (0, 0) for n in (height, width)]
        stride = (self.unit.stride, self.unit.stride)
        return lax.conv_general_dilated(
            x, weight, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


class _Unit(nn.Module):
    unit: Unit

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        x = _Correlation(self.unit, name="conv")(x)
        return jax.nn.relu(BatchNorm(epsilon=1e-3, name="bn")(x))


def _halve(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
    return nn.max_pool(x, (3, 3), (2, 2))


_POOLS: dict[str, Callable[[Array], Array]] = {
    "average": lambda x: nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False),
    "maximum": lambda x: nn.max_pool(x, (3, 3), padding="SAME"),
    "halve": _halve,
}


class _Block(nn.Module):
    block: Block

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        found = []
        for branch in self.block.branches:
            y = x
            for step in branch:
                units = step if isinstance(step, Fork) else (step,)
                y = jnp.concatenate([_Unit(unit, name=unit.name)(y) for unit in units], -1)
            found.append(y)
        y = _POOLS[self.block.pool](x)
        if self.block.projected:
            y = _Unit(Unit("branch_pool", self.block.projected), name="branch_pool")(y)
        return jnp.concatenate([*found, y], -1)


class Inception(nn.Module):
    """Features of pictures in [-1, 1] as FID reads them: the means over the last block."""

    stem: tuple[Unit | None, ...] = STEM
    blocks: tuple[Block, ...] = BLOCKS

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b f"]:
        x = image
        for unit in self.stem:
            x = _halve(x) if unit is None else _Unit(unit, name=unit.name)(x)
        for block in self.blocks:
            x = _Block(block, name=block.name)(x)
        return x.mean((1, 2))


def read(path: str) -> Weights:
    """The weights of the published file, or of another with the same arrays.

    Raises:
        UserError: the file is refused, or is no Inception of FID.
    """
    arrays = checkpoint.open_source(path).network.arrays
    classifier = arrays.get("fc.weight")
    if classifier is None or classifier.shape != (OUTPUTS, FEATURES):
        found = "none" if classifier is None else list(classifier.shape)
        raise UserError(
            f"{path} is no Inception of FID: expected fc.weight of {[OUTPUTS, FEATURES]}, found "
            f"{found} (torchvision's own has 1,000 outputs): name {PUBLISHED}."
        )
    image = jnp.zeros((1, SIDE, SIDE, 3))
    template = jax.eval_shape(pure(Inception()).init, jax.random.key(0), image)
    named = {name: x.array() for name, x in arrays.items() if not name.startswith("fc.")}
    try:
        return import_weights(template, named)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is no Inception of FID ({error.args[0]}): name {PUBLISHED}."
        ) from error


def extractor(files: Mapping[str, str]) -> Extractor:
    """The published network; pictures in [-1, 1] are rounded to 8 bits and resized to 299.

    Args:
        files: "inception": path of the published file.

    Raises:
        UserError: the file is not named, not there, or no Inception of FID.

    Source: Heusel et al. 2017; the resizing is pytorch-fid's, bilinear without antialiasing.
    """
    (path,) = need_files("fid", files, inception=PUBLISHED)
    weights = jax.device_put(read(path))
    found = fingerprints(path)
    digest = next(iter(found.values()))
    own = "fid" if digest.startswith(SHA256) else f"fd[inception_{digest[:8]}]"
    network = jax.jit(pure(Inception()).apply)
    resize = jax.jit(lambda x: resize_bilinear(x, (SIDE, SIDE)))

    def batches(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        waiting = []
        for picture in pictures:
            waiting.append(resize(to_uint8(picture).astype(np.float32) / 127.5 - 1))
            if len(waiting) == BATCH:
                yield np.asarray(network(weights, jnp.stack(waiting)))
                waiting = []
        if waiting:  # filled up, so that nothing is compiled anew
            full = jnp.stack([*waiting, *waiting[-1:] * (BATCH - len(waiting))])
            yield np.asarray(network(weights, full))[: len(waiting)]

    return Extractor(own, found, batches)
