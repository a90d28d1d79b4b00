"""The generator's networks in PyTorch, for benchmarks to compare with.

The same layer maths and sizes as invertavatar_jax's networks, in PyTorch's own layout (images
b, c, h, w) and with the released names, so `load(module, weights)` copies the weights of one
of our networks into its twin:

    from experiments.benchmarks import torch_twin
    torch_twin.use_threads(2)
    twin = torch_twin.build(settings.preset("paper"))  # random weights, eval mode
    with torch.inference_mode():
        w_plus = twin.latent(image)  # [b 3 256 256] -> [b l d]
        textures = twin.texture(w_plus)  # [image R/8, x R/8, x R/4, x R/2, x R, image R]
        static = twin.static(w_plus, modulation={64: (scale, shift)})
        face = twin.face(w_plus, conditions)[-1]
        image = twin.superresolution(rgb, features, w_plus)
        offsets, memory = twin.texture_unet(uv, None)  # uv [t b 7 R R]
        modulation, memory = twin.triplane_unet(images, None)  # images [t b 6 R R]

Convolutions are modulated in the "scale" form: activations are scaled, weights are shared.
The encoders are in torch_twin_encoders.py.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import torch_twin_encoders as encoders
from experiments.benchmarks.torch_twin_encoders import Linear
from invertavatar_jax import settings
from invertavatar_jax.convert.names import export_weights
from invertavatar_jax.pure import Weights

BINOMIAL = (0.125, 0.375, 0.375, 0.125)
EPSILON = 1e-8


def fir(x: Tensor, padding: tuple[int, int, int, int], gain: float) -> Tensor:
    """Filters every channel with the outer product of BINOMIAL by itself."""
    row = torch.tensor(BINOMIAL, dtype=x.dtype)
    taps = (gain * torch.outer(row, row)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, padding), taps, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Doubles both sides with the filter."""
    b, c, h, w = x.shape
    spread = x.new_zeros(b, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = x
    return fir(spread.reshape(b, c, 2 * h, 2 * w), (2, 1, 2, 1), 4.0)


def modulated_conv(
    x: Tensor, weight: Tensor, style: Tensor, *, up: int = 1, demodulate: bool = True
) -> Tensor:
    """Convolves sample n with weight * style[n], scaled to unit norm."""
    x = x * style[:, :, None, None]
    if up == 2:
        x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1, 1, 1), 4.0)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return x
    energy = style.square() @ weight.square().sum((2, 3)).T
    scale = torch.rsqrt(energy + EPSILON)[:, :, None, None]
    # gradients need x: in place, PyTorch would copy it first
    return x * scale if x.requires_grad else x.mul_(scale)


def clip(x: Tensor, limit: float | None) -> Tensor:
    """Clips to -limit ... limit; x is used up."""
    if limit is None:
        return x
    return x.clamp(-limit, limit) if x.requires_grad else x.clamp_(-limit, limit)


def rectify(x: Tensor) -> Tensor:
    """The leaky rectifier times the square root of 2; x is used up, its gradient is kept."""
    return F.leaky_relu_(x.mul_(math.sqrt(2)), 0.2)


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution, noise and a leaky rectifier."""

    def __init__(self, inputs: int, features: int, side: int, w_dim: int, up: int, clamp):
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = Linear(w_dim, inputs, 1.0)
        self.weight = nn.Parameter(torch.randn(features, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(features))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(side, side))

    def forward(self, x: Tensor, w: Tensor, noise: bool) -> Tensor:
        x = modulated_conv(x, self.weight, self.affine(w), up=self.up)
        if noise:
            x = x.add_(self.noise_const * self.noise_strength)
        return clip(rectify(x.add_(self.bias[:, None, None])), self.clamp)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution without demodulation."""

    def __init__(self, inputs: int, features: int, w_dim: int, clamp):
        super().__init__()
        self.clamp = clamp
        self.affine = Linear(w_dim, inputs, 1.0)
        self.weight = nn.Parameter(torch.randn(features, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) / math.sqrt(x.shape[1])
        x = modulated_conv(x, self.weight, style, demodulate=False)
        return clip(x.add_(self.bias[:, None, None]), self.clamp)


class SynthesisBlock(nn.Module):
    """Two convolutions, the first doubling the resolution, and a skip image."""

    def __init__(
        self, inputs: int | None, features: int, side: int, w_dim: int, image_channels: int,
        up: int = 2, clamp=None,
    ):  # fmt: skip
        super().__init__()
        self.up = up
        if inputs is None:
            self.const = nn.Parameter(torch.randn(features, side, side))
        else:
            self.conv0 = SynthesisLayer(inputs, features, side, w_dim, up, clamp)
        self.conv1 = SynthesisLayer(features, features, side, w_dim, 1, clamp)
        self.torgb = ToRGB(features, image_channels, w_dim, clamp)

    def forward(self, x, image, w: Tensor, modulation=None, noise: bool = True):
        if x is None:
            x = self.const.expand(len(w), *self.const.shape)
        else:
            x = self.conv0(x, w[:, 0], noise)
        if modulation is not None:
            kept, changed = x.chunk(2, 1)
            x = torch.cat([kept, changed * modulation[0] + modulation[1]], 1)
        x = self.conv1(x, w[:, -2], noise)
        y = self.torgb(x, w[:, -1])
        if image is None:
            return x, y
        return x, y.add_(upsample(image) if self.up == 2 else image)


def blend(x: Tensor, condition: Tensor) -> Tensor:
    """Lays features over x; the condition's last channel is their opacity."""
    alpha = condition[:, -1:]
    return condition[:, :-1] * alpha + x * (1 - alpha)


class Synthesis(nn.Module):
    """G_tex, G_static and G_face: see invertavatar_jax/generate/synthesis.py."""

    def __init__(self, sizes: settings.Backbone, w_dim: int, image_channels: int):
        super().__init__()
        self.sides = sizes.resolutions
        before = None
        for side in self.sides:
            features = sizes.channels(side)
            block = SynthesisBlock(before, features, side, w_dim, image_channels)
            self.add_module(f"b{side}", block)
            before = features

    def forward(
        self,
        w_plus: Tensor,
        conditions: Sequence[Tensor] = (),
        modulation: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> list[Tensor]:
        first, features, image, x = max(0, len(self.sides) - 4), [], None, None
        for i, side in enumerate(self.sides):
            w = w_plus[:, max(0, 2 * i - 1) : 2 * i + 2]
            change = None if modulation is None else modulation.get(side)
            x, image = self.get_submodule(f"b{side}")(x, image, w, change)
            if i < first:
                continue
            blended = bool(conditions) and i < len(self.sides) - 1
            if i == first:
                image = blend(image, conditions[0]) if blended else image
                features.append(image)
            x = blend(x, conditions[len(features)]) if blended else x
            features.append(x)
        return [*features, image]


class SuperResolution(nn.Module):
    """Two blocks, without noise: see invertavatar_jax/render/upsample.py."""

    def __init__(self, sizes: settings.Renderer, inputs: int, w_dim: int):
        super().__init__()
        self.side = side = sizes.neural_resolution
        clamp = sizes.superresolution_clamp
        for i, features in enumerate(sizes.superresolution_channels):
            up = 2 if sizes.image_resolution >= side << (2 - i) else 1
            side *= up
            block = SynthesisBlock(inputs, features, side, w_dim, 3, up, clamp)
            self.add_module(f"block{i}", block)
            inputs = features

    def forward(self, rgb: Tensor, features: Tensor, w_plus: Tensor) -> Tensor:
        if rgb.shape[-1] != self.side:
            size = (self.side, self.side)
            resize = lambda x: F.interpolate(x, size, mode="bilinear", antialias=True)
            rgb, features = resize(rgb), resize(features)
        w = w_plus[:, -1:].repeat(1, 3, 1)
        x, image = self.block0(features, rgb, w, None, False)
        return self.block1(x, image, w, None, False)[1]


class Twin(NamedTuple):
    """As invertavatar_jax.networks.Networks, without mapping and the renderer's decoder."""

    texture: Any
    static: Any
    face: Any
    superresolution: Any
    latent: Any
    texture_unet: Any
    triplane_unet: Any


def make(model: settings.Model, name: str) -> nn.Module:
    """One network of Twin with random weights, in eval mode.

    Raises:
        ValueError: the model has departures that the twin lacks.
    """
    trunks = (model.latent_trunk, model.texture_trunk, model.triplane_trunk)
    if model.renderer.superresolution_fold or model.one_shot or any(t.patch > 1 for t in trunks):
        raise ValueError("the torch twin has the released recurrent networks alone")
    planes = model.plane_channels
    synthesis = lambda channels: Synthesis(model.backbone, model.w_dim, channels)
    makers = Twin(
        texture=lambda: synthesis(planes),
        static=lambda: synthesis(3 * planes),
        face=lambda: synthesis(planes),
        superresolution=lambda: SuperResolution(model.renderer, planes, model.w_dim),
        latent=lambda: encoders.LatentEncoder(model),
        texture_unet=lambda: encoders.TextureEncoder(model),
        triplane_unet=lambda: encoders.TriplaneEncoder(model),
    )
    return getattr(makers, name)().eval().requires_grad_(False)


def build(model: settings.Model) -> Twin:
    """All networks; see `make`."""
    return Twin(*[make(model, name) for name in Twin._fields])


def load(module: nn.Module, weights: Weights) -> None:
    """Copies the weights of one of our networks.

    Raises:
        ValueError: names differ.
    """
    named = {name: torch.tensor(array) for name, array in export_weights(weights).items()}
    missing, unexpected = module.load_state_dict(named, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"the twin has {missing} more and {unexpected} less than our network")


def use_threads(count: int) -> None:
    """Lets PyTorch compute with `count` threads."""
    torch.set_num_threads(count)


def images(array) -> Tensor:
    """Ours [*b h w c] -> the twin's [*b c h w]."""
    return torch.tensor(array).movedim(-1, -3).contiguous()
