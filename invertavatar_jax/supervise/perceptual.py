"""LPIPS: the distance of two pictures in the features of an image classifier."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.layers import Conv

# LPIPS's own mean and deviation of the channels of a picture in [-1, 1]
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # LPIPS's; added to the length of a feature vector


class _Layer(NamedTuple):
    """A convolution and its rectifier, as numbered in the published classifier."""

    index: int
    features: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0  # side of the maximum over windows, two pixels apart, before it
    compared: bool = True


_BETWEEN = {"compared": False}
CLASSIFIERS = {
    "alex": (
        _Layer(0, 64, kernel=11, stride=4, padding=2),
        _Layer(3, 192, kernel=5, padding=2, pool=3),
        _Layer(6, 384, pool=3),
        _Layer(8, 256),
        _Layer(10, 256),
    ),
    "vgg": (
        *(_Layer(0, 64, **_BETWEEN), _Layer(2, 64)),
        *(_Layer(5, 128, pool=2, **_BETWEEN), _Layer(7, 128)),
        *(_Layer(10, 256, pool=2, **_BETWEEN), _Layer(12, 256, **_BETWEEN), _Layer(14, 256)),
        *(_Layer(17, 512, pool=2, **_BETWEEN), _Layer(19, 512, **_BETWEEN), _Layer(21, 512)),
        *(_Layer(24, 512, pool=2, **_BETWEEN), _Layer(26, 512, **_BETWEEN), _Layer(28, 512)),
    ),
}


class ClassifierFeatures(nn.Module):
    """Features of AlexNet or VGG-16 at five depths, after the rectifier."""

    classifier: str = "alex"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Returns the features, the finest first.

        Raises:
            ValueError: the classifier is unknown.
        """
        if self.classifier not in CLASSIFIERS:
            known = ", ".join(CLASSIFIERS)
            raise ValueError(f"got classifier {self.classifier!r}, expected one of {known}")
        x = (image - np.float32(_MEAN)) / np.float32(_DEVIATION)
        found = []
        for layer in CLASSIFIERS[self.classifier]:
            if layer.pool:
                x = nn.max_pool(x, (layer.pool, layer.pool), (2, 2))
            size = dict(kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
            x = jax.nn.relu(Conv(layer.features, **size, name=f"layers_{layer.index}")(x))
            if layer.compared:
                found.append(x)
        return tuple(found)


def unit_length(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """Scales vectors to length 1; those of length 0, which rectifiers make, stay 0."""
    squared = jnp.square(x).sum(-1, keepdims=True)
    lit = squared > 0  # the root has no gradient at 0
    length = jnp.where(lit, jnp.sqrt(jnp.where(lit, squared, 1.0)), 0.0)
    return x / (length + _EPSILON)


class LPIPS(nn.Module):
    """The learned perceptual distance of pictures in [-1, 1], version 0.1.

    It is LPIPS only with the published weights: `named_weights` gives them their places.

    Source: paper A.2 (perceptual loss); TRAINING B ("LPIPS").
    """

    classifier: str = "alex"

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], target: Float[Array, "b h w 3"]
    ) -> Float[Array, " b"]:
        """Returns one distance a pair: spatial means, added over five depths."""
        both = jnp.concatenate([image, target])
        total = jnp.zeros(image.shape[0])
        for i, x in enumerate(ClassifierFeatures(self.classifier, name="net")(both)):
            got, wanted = jnp.split(unit_length(x), 2)
            head = Conv(1, kernel=1, bias=False, name=f"lin_{i}_1")
            total = total + head(jnp.square(got - wanted)).mean((1, 2, 3))
        return total


def named_weights(
    classifier: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Joins the published files of a classifier and of LPIPS's heads, named as in LPIPS here.

    Args:
        classifier: torchvision's arrays of AlexNet or VGG-16: features.N.weight, ...
        heads: the arrays of LPIPS 0.1: lin0.model.1.weight, ...
    """
    net = {
        name.replace("features.", "net.layers."): array
        for name, array in classifier.items()
        if name.startswith("features.")
    }
    lin = {
        f"lin.{name.removeprefix('lin').replace('.model.', '.')}": array
        for name, array in heads.items()
    }
    return net | lin
