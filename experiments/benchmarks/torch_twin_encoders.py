"""E_latent, E_tex and E_tri in PyTorch; torch_twin.py says what for and how to call them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invertavatar_jax import settings


class Linear(nn.Module):
    """An equalised-learning-rate linear layer."""

    def __init__(self, inputs: int, features: int, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs))
        self.bias = nn.Parameter(torch.full((features,), bias))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(x.shape[-1]), self.bias)


def _conv(inputs: int, features: int, kernel: int = 3, stride: int = 1, bias: bool = True):
    return nn.Conv2d(inputs, features, kernel, stride, kernel // 2, bias=bias)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // 16, 1)
        self.fc1 = _conv(channels, hidden, 1, bias=False)
        self.fc2 = _conv(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class _Unit(nn.Module):
    """One improved-residual unit with squeeze-and-excitation."""

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.stride = stride
        self.shortcut_layer = None
        if inputs != features:
            shortcut = _conv(inputs, features, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(shortcut, nn.BatchNorm2d(features))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            _conv(inputs, features, bias=False),
            nn.PReLU(features),
            _conv(features, features, 3, stride, bias=False),
            nn.BatchNorm2d(features),
            _SqueezeExcite(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut_layer is None:
            shortcut = x[:, :, :: self.stride, :: self.stride]
        else:
            shortcut = self.shortcut_layer(x)
        return self.res_layer(x).add_(shortcut)


class _Trunk(nn.Module):
    """The IR-SE trunk that every encoder begins with."""

    def __init__(self, sizes: settings.Trunk, inputs: int):
        super().__init__()
        before = sizes.channels[0]
        norm, act = nn.BatchNorm2d(before), nn.PReLU(before)
        self.input_layer = nn.Sequential(_conv(inputs, before, bias=False), norm, act)
        units, self.ends = [], []
        for features, count in zip(sizes.channels, sizes.units, strict=True):
            for i in range(count):
                units.append(_Unit(before, features, 2 if i == 0 else 1))
                before = features
            self.ends.append(len(units))
        self.body = nn.ModuleList(units)

    def levels(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features after each stage, and after the first unit of the last one."""
        x = entry = self.input_layer(x)
        stages = []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i == self.ends[-2]:
                entry = x
            if i + 1 in self.ends:
                stages.append(x)
        return stages, entry


class _Style(nn.Module):
    def __init__(self, channels: int, side: int, w_dim: int):
        super().__init__()
        layers = []
        for _ in range(side.bit_length() - 1):
            layers += [_conv(channels, channels, stride=2), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x)[:, :, 0, 0])


class LatentEncoder(_Trunk):
    """E_latent: see invertavatar_jax/encode/latent.py."""

    def __init__(self, model: settings.Model):
        super().__init__(model.latent_trunk, 3)
        self.side, side = model.latent_input, model.latent_input >> len(self.ends)
        fine, middle, last = model.latent_trunk.channels[-3:]
        self.latlayer1, self.latlayer2 = _conv(middle, last, 1), _conv(fine, last, 1)
        sides = [side] * 3 + [2 * side] * 4 + [4 * side] * (model.backbone.w_count - 7)
        self.styles = nn.ModuleList([_Style(last, side, model.w_dim) for side in sides])

    def forward(self, image: Tensor, w_avg: Tensor | float = 0.0) -> Tensor:
        stages, _ = self.levels(F.adaptive_avg_pool2d(image, self.side))
        fine, middle, coarse = stages[-3:]
        grow = lambda x, like: F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)
        middle = self.latlayer1(middle).add_(grow(coarse, middle))
        fine = self.latlayer2(fine).add_(grow(middle, fine))
        codes = [
            style(coarse if i < 3 else middle if i < 7 else fine)
            for i, style in enumerate(self.styles)
        ]
        deltas = [torch.zeros_like(codes[0]), *codes[1:]]
        return w_avg + codes[0][:, None] + torch.stack(deltas, 1)


class _DoubleConv(nn.Module):
    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.BatchNorm2d(inputs),
            _conv(inputs, features),
            nn.PReLU(features),
            _conv(features, features),
            nn.PReLU(features),
            nn.PReLU(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class _ConvGRU(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.ih = nn.Sequential(_conv(2 * channels, 2 * channels), nn.Sigmoid())
        self.hh = nn.Sequential(_conv(2 * channels, channels), nn.Tanh())

    def forward(self, frames: Tensor, memory: Tensor | None) -> Tensor:
        memory = torch.zeros_like(frames[0]) if memory is None else memory
        for frame in frames:
            reset, renew = self.ih(torch.cat([frame, memory], 1)).chunk(2, 1)
            candidate = self.hh(torch.cat([frame, reset * memory], 1))
            memory = (1 - renew) * memory + renew * candidate
        return memory


class _Up(nn.Module):
    """Joins a skip with the deeper level, and folds the frames."""

    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.conv, self.conv_gru = _DoubleConv(inputs, features), _ConvGRU(features)

    def forward(self, skip: Tensor, deep: Tensor, memory: Tensor | None) -> Tensor:
        t, b, _, h, _ = skip.shape
        if deep.shape[3] != h:
            deep = F.pixel_shuffle(deep, 2)
        x = torch.cat([skip, deep.expand(t, *deep.shape[1:])], 2)
        return self.conv_gru(self.conv(x.flatten(0, 1)).unflatten(0, (t, b)), memory)


class _Unet(_Trunk):
    def __init__(self, trunk: settings.Trunk, sizes: settings.Decoder, side: int, inputs: int):
        super().__init__(trunk, inputs)
        self.side = side
        stages = trunk.channels
        skips = (stages[-1], *stages[-2::-1])
        deep = [stages[-1], *[features // 4 for features in sizes.channels]]
        for i, features in enumerate(sizes.channels):
            self.add_module(f"up{i + 1}", _Up(skips[i] + deep[i], features))

    def states(self, frames: Tensor, memory: list[Tensor] | None) -> list[Tensor]:
        t, b = frames.shape[:2]
        stages, entry = self.levels(F.adaptive_avg_pool2d(frames.flatten(0, 1), self.side))
        in_time = lambda x: x.unflatten(0, (t, b))
        deep, states = in_time(stages[-1]), []
        for i, skip in enumerate((entry, *stages[-2::-1])):
            up = self.get_submodule(f"up{i + 1}")
            states.append(up(in_time(skip), deep, None if memory is None else memory[i]))
            deep = states[-1][None]
        return states


class TextureEncoder(_Unet):
    """E_tex: see invertavatar_jax/encode/unet.py."""

    def __init__(self, model: settings.Model):
        sizes, target = model.texture_decoder, model.backbone
        super().__init__(model.texture_trunk, sizes, target.resolution, 7)
        self.outconv0 = _conv(sizes.channels[1], model.plane_channels, 1)
        for i, channels in enumerate(sizes.channels[1:], start=1):
            side = target.resolution >> (4 - i)
            self.add_module(f"outconv{i}", _conv(channels, target.channels(side), 1))

    def forward(self, frames: Tensor, memory: list[Tensor] | None = None):
        states = self.states(frames, memory)
        offsets = [self.outconv0(states[1])]
        for i, state in enumerate(states[1:], start=1):
            offsets.append(self.get_submodule(f"outconv{i}")(state))
        return offsets, states


class TriplaneEncoder(_Unet):
    """E_tri: see invertavatar_jax/encode/unet.py."""

    def __init__(self, model: settings.Model):
        sizes, target = model.triplane_decoder, model.backbone
        super().__init__(model.triplane_trunk, sizes, target.resolution, 6)
        width = sizes.head_channels
        first, second = _conv(sizes.channels[-1] // 4, width), _conv(width, width)
        self.final_head = nn.Sequential(first, nn.PReLU(width), second, nn.PReLU(width))
        for i, channels in enumerate((*sizes.channels, width)):
            side = target.resolution >> (4 - i)
            if side <= 4:  # the first block has no place for a modulation
                continue
            for kind in ("scale", "shift"):
                last = _conv(channels, target.channels(side) // 2)
                head = nn.Sequential(_conv(channels, channels), nn.LeakyReLU(0.2), last)
                self.add_module(f"condition_{kind}{side}", head)

    def forward(self, frames: Tensor, memory: list[Tensor] | None = None):
        states = self.states(frames, memory)
        last = self.final_head(F.pixel_shuffle(states[-1], 2))
        modulation = {}
        for state in (state for state in (*states, last) if state.shape[-1] > 4):
            side = state.shape[-1]
            modulation[side] = tuple(
                self.get_submodule(f"condition_{kind}{side}")(state) for kind in ("scale", "shift")
            )
        return modulation, states
