"""The IR-SE trunk that E_latent, E_tex and E_tri each have one of."""

from typing import NamedTuple

from jaxtyping import Array, Float

from invertavatar_jax import settings
from invertavatar_jax.layers import BatchNorm, BottleneckIRSE, Conv, PReLU


class Levels(NamedTuple):
    """Features of a trunk. Stage i has 1 / 2^(i + 1) of the input's resolution."""

    stages: tuple[Float[Array, "b _ _ _"], ...]  # the output of each stage, finest first
    entry: Float[Array, "b h w c"]  # after the first unit of the last stage


def fold_pixels(x: Float[Array, "b h w c"], patch: int) -> Float[Array, "b p q o"]:
    """Moves patch x patch neighbouring pixels into channels, row by row.

    Raises:
        ValueError: a side is not a multiple of `patch`.
    """
    b, h, w, c = x.shape
    if h % patch or w % patch:
        raise ValueError(f"got an image of {h} x {w}, expected multiples of the patch {patch}")
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).swapaxes(2, 3)
    return x.reshape(b, h // patch, w // patch, patch * patch * c)


def trunk_levels(
    sizes: settings.Trunk, x: Float[Array, "b h w c"], *, batch_statistics: bool
) -> Levels:
    """Runs the trunk; call it in a compact module, which then owns the layers.

    The layers are not in a submodule because the released names have no level for one.

    Source: paper A.3; SPEC section 9.1.
    """
    kernel = 3 if sizes.patch == 1 else 1  # a patch has its neighbourhood in its channels
    x = fold_pixels(x, sizes.patch)
    x = Conv(sizes.channels[0], kernel, bias=False, name="input_layer_0")(x)
    x = PReLU(name="input_layer_2")(BatchNorm(batch_statistics, name="input_layer_1")(x))
    stages, entry, unit = [], x, 0
    for features, units in zip(sizes.channels, sizes.units, strict=True):
        for i in range(units):
            stride = 2 if i == 0 else 1
            x = BottleneckIRSE(features, stride, batch_statistics, name=f"body_{unit}")(x)
            entry = x if i == 0 else entry
            unit += 1
        stages.append(x)
    return Levels(tuple(stages), entry)
