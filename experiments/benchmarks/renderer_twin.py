"""Volume rendering in PyTorch as EG3D does it, for benchmarks to compare with.

Every array of all samples exists at once; F.grid_sample reads the three planes, and depths,
densities and colours are sorted together before they are marched along.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from invertavatar_jax.render.triplane import Axes


class Decoder(NamedTuple):
    """Two linear layers, scaled as they are used."""

    first: Tensor  # [hidden, features]
    first_bias: Tensor
    second: Tensor  # [1 + channels, hidden], density first
    second_bias: Tensor


class Rays(NamedTuple):
    """n half-lines and where their samples lie."""

    origins: Tensor  # [n, 3]
    directions: Tensor  # [n, 3]
    coarse: Tensor  # [n, s], ascending
    draws: Tensor  # [n, m], in [0, 1]


def sample(planes: Tensor, points: Tensor, box_warp: float, axes: Axes) -> Tensor:
    """planes [p, c, h, w] at points [n, 3] -> [n, c], the mean over planes."""
    scaled = points * (2 / box_warp)
    grid = torch.stack([scaled[:, list(pair)] for pair in axes])[:, None]
    values = F.grid_sample(planes, grid, align_corners=False)
    return values.permute(0, 3, 2, 1)[:, :, 0].mean(0)


def decode(decoder: Decoder, features: Tensor) -> tuple[Tensor, Tensor]:
    """[n, f] -> colours [n, c] and density [n, 1]."""
    x = F.softplus(F.linear(features, decoder.first, decoder.first_bias))
    x = F.linear(x, decoder.second, decoder.second_bias)
    return torch.sigmoid(x[:, 1:]) * 1.002 - 0.001, x[:, :1]


def march(colour: Tensor, density: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples [n, s, _] in ascending depth -> features [n, c], depth [n, 1], weights [n, t, 1]."""
    middle = lambda x: (x[:, :-1] + x[:, 1:]) / 2
    width = depth[:, 1:] - depth[:, :-1]
    alpha = 1 - torch.exp(-F.softplus(middle(density) - 1) * width)
    clear = torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], 1)
    weights = alpha * torch.cumprod(clear, 1)[:, :-1]
    total = weights.sum(1)
    mean = torch.nan_to_num((weights * middle(depth)).sum(1) / total, float("inf"))
    mean = mean.clamp(depth.min(), depth.max())
    return 2 * (weights * middle(colour)).sum(1) - 1, mean, weights


def importance(depth: Tensor, weights: Tensor, draws: Tensor) -> Tensor:
    """Distances [n, m] drawn where the coarse weights [n, s - 1] lie."""
    weights = F.avg_pool1d(F.max_pool1d(weights[:, None], 2, 1, padding=1), 2, 1)[:, 0] + 0.01
    middle = (depth[:, :-1] + depth[:, 1:]) / 2
    share = weights[:, 1:-1] + 1e-5
    share = share / share.sum(-1, keepdim=True)
    cdf = torch.cat([torch.zeros_like(share[:, :1]), torch.cumsum(share, -1)], -1)
    right = torch.searchsorted(cdf, draws.contiguous(), right=True)
    ends = torch.stack([(right - 1).clamp(min=0), right.clamp(max=share.shape[1])], -1)
    at = lambda x: torch.gather(x, 1, ends.flatten(1)).reshape(ends.shape).unbind(-1)
    (cdf_low, cdf_high), (low, high) = at(cdf), at(middle)
    step = cdf_high - cdf_low
    step = torch.where(step < 1e-5, torch.ones_like(step), step)
    return low + (draws - cdf_low) / step * (high - low)


def render(
    planes: Tensor, decoder: Decoder, rays: Rays, box_warp: float, axes: Axes
) -> tuple[Tensor, Tensor, Tensor]:
    """Features [n, c] in about [-1, 1], depth [n, 1] and opacity [n, 1]."""

    def at(depth):
        points = rays.origins[:, None] + depth[..., None] * rays.directions[:, None]
        features = sample(planes, points.reshape(-1, 3), box_warp, axes)
        return (x.reshape(*depth.shape, -1) for x in decode(decoder, features))

    colour, density = at(rays.coarse)
    with torch.no_grad():
        weights = march(colour, density, rays.coarse[..., None])[2]
        fine = importance(rays.coarse, weights[..., 0], rays.draws)
    more_colour, more_density = at(fine)
    depth = torch.cat([rays.coarse, fine], 1)[..., None]
    depth, order = torch.sort(depth, 1)
    pick = lambda x: torch.gather(x, 1, order.expand(-1, -1, x.shape[-1]))
    colour = pick(torch.cat([colour, more_colour], 1))
    density = pick(torch.cat([density, more_density], 1))
    features, mean, weights = march(colour, density, depth)
    return features, mean, weights.sum(1)
