"""What hair falls upon: skull, neck and shoulders; and the shade that it casts on the skin."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CENTRE = np.array([0.0, 0.10, -0.02])  # of the skull
AZIMUTHS, ELEVATIONS = 64, 48


class Skull(NamedTuple):
    """How far the head and shoulders reach from CENTRE in each direction."""

    reach: Float[np.ndarray, "e a"]

    def __call__(self, unit: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
        row = (np.arcsin(np.clip(unit[..., 1], -1, 1)) / np.pi + 0.5) * ELEVATIONS - 0.5
        column = (np.arctan2(unit[..., 0], unit[..., 2]) / (2 * np.pi) + 0.5) * AZIMUTHS - 0.5
        row = np.clip(row, 0, ELEVATIONS - 1.001)
        r, c = np.floor(row).astype(int), np.floor(column).astype(int)
        fr, fc = row - r, column - c
        at = lambda i, j: self.reach[i, j % AZIMUTHS]
        below = at(r, c) * (1 - fc) + at(r, c + 1) * fc
        above = at(r + 1, c) * (1 - fc) + at(r + 1, c + 1) * fc
        return below * (1 - fr) + above * fr


def measure_skull(points: Float[np.ndarray, "n 3"]) -> Skull:
    """Largest distance of the points in each direction, gaps filled from their neighbours."""
    offset = points - CENTRE
    radius = np.linalg.norm(offset, axis=-1)
    reach = np.zeros((ELEVATIONS, AZIMUTHS))
    np.maximum.at(reach, _cell(offset), radius)
    for _ in range(12):
        near = [np.roll(reach, shift, axis) for shift in (-1, 1) for axis in (0, 1)]
        known = np.stack([n > 0 for n in near]).sum(0)
        fill = np.stack(near).sum(0) / np.maximum(known, 1)
        reach = np.where(reach > 0, reach, fill)
    soft = sum(np.roll(reach, s, 1) for s in (-1, 0, 1)) / 3
    padded = np.pad(soft, ((1, 1), (0, 0)), mode="edge")
    return Skull(np.maximum((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 0.97 * reach))


class Shoulders(NamedTuple):
    """The garment as rings, from which the height of its top follows at any place."""

    radius: Float[np.ndarray, "r a"]  # rows downwards, from angle -pi
    height: Float[np.ndarray, "r a"]

    def __call__(self, place: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        count = self.radius.shape[1]
        angle = np.arctan2(place[:, 0], place[:, 2] + 0.05)
        column = np.round((angle / (2 * np.pi) + 0.5) * count).astype(int) % count
        radius, height = self.radius[:, column], self.height[:, column]
        reach = np.hypot(place[:, 0], place[:, 2] + 0.05)
        row = np.clip((radius < reach).sum(0), 1, len(radius) - 1)
        at = lambda a, r: np.take_along_axis(a, r[None], 0)[0]
        wide, narrow = at(radius, row), at(radius, row - 1)
        share = np.clip((reach - narrow) / np.maximum(wide - narrow, 1e-6), 0, 1)
        top = at(height, row - 1) + share * (at(height, row) - at(height, row - 1))
        return np.where(reach < radius[0], -2.0, np.where(reach > radius[-1], -2.0, top))


def measure_shoulders(garment: Float[np.ndarray, "v 3"], around: int) -> Shoulders:
    """Reads the rings off the garment's vertices (wear.garment; two rings are inside)."""
    rings = garment.reshape(-1, around, 3)[2:]
    radius = np.hypot(rings[..., 0], rings[..., 2] + 0.05)
    return Shoulders(np.maximum.accumulate(radius, 0), rings[..., 1])


def shade_under(
    hair: Float[np.ndarray, "n 3"], vertices: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, " v"]:
    """Share of the light that hair lets through to each vertex: little where it lies thick.

    Args:
        hair: points along the strands.
    """
    flat = hair - CENTRE
    cover = np.zeros((ELEVATIONS, AZIMUTHS))
    np.add.at(cover, _cell(flat), 1.0)
    area = np.cos((np.arange(ELEVATIONS) + 0.5) / ELEVATIONS * np.pi - np.pi / 2)[:, None]
    cover = cover / (area + 0.05)
    for axis in (0, 1):
        cover = 0.5 * cover + 0.25 * (np.roll(cover, 1, axis) + np.roll(cover, -1, axis))
    return np.exp(-0.06 * np.minimum(cover[_cell(vertices - CENTRE)], 12)).astype("f4")


def _cell(offset: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of directions on the grid of elevations and azimuths."""
    unit = offset / np.linalg.norm(offset, axis=-1, keepdims=True)
    row = ((np.arcsin(np.clip(unit[:, 1], -1, 1)) / np.pi + 0.5) * ELEVATIONS).astype(int)
    column = ((np.arctan2(unit[:, 0], unit[:, 2]) / (2 * np.pi) + 0.5) * AZIMUTHS).astype(int)
    return row.clip(0, ELEVATIONS - 1), column % AZIMUTHS
