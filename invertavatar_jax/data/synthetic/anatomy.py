"""What painting and lighting need to know of the head's surface; worked out once per head model."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.synthetic import noise
from invertavatar_jax.fit.morphable import HeadModel, normals, vertices
from invertavatar_jax.rasterize.api import interpolate, rasterize

TEXTURE = 512  # texels on a side
DIRECTIONS = 64  # for the visibility of the sky from each vertex
DEPTH_MAP = 128  # pixels on a side of the depth maps behind it
# Curves in the texture layout (fit/head_layout.py), right half; the left is their mirror image.
LIPS = ((0.434, 0.491), (0.441, 0.511), (0.453, 0.522), (0.468, 0.530), (0.486, 0.536),
        (0.500, 0.531), (0.500, 0.446), (0.482, 0.447), (0.463, 0.452), (0.448, 0.462),
        (0.438, 0.475))  # fmt: skip
BROW = ((0.300, 0.742), (0.327, 0.753), (0.360, 0.757), (0.400, 0.752), (0.447, 0.744))
UPPER_LID = ((0.339, 0.702), (0.349, 0.713), (0.364, 0.721), (0.379, 0.723), (0.395, 0.719),
             (0.407, 0.712), (0.419, 0.704))  # fmt: skip
LOWER_LID = ((0.339, 0.702), (0.352, 0.697), (0.368, 0.694), (0.384, 0.694), (0.402, 0.698),
             (0.419, 0.704))  # fmt: skip
CREASE = ((0.330, 0.706), (0.345, 0.722), (0.362, 0.731), (0.380, 0.733), (0.398, 0.729),
          (0.416, 0.718))  # fmt: skip


class Anatomy(NamedTuple):
    """Maps over the texture (row 0 is v = 0) and per vertex."""

    head: HeadModel
    position: Float[np.ndarray, "t t 3"]  # of the template's surface at each texel
    lips: Float[np.ndarray, "t t"]
    brows: Float[np.ndarray, "t t"]
    upper_lids: Float[np.ndarray, "t t"]  # the line of the lashes
    lower_lids: Float[np.ndarray, "t t"]
    creases: Float[np.ndarray, "t t"]
    sockets: Float[np.ndarray, "t t"]  # a wide soft patch around the eyes
    normal: Float[np.ndarray, "v 3"]  # the template's
    transfer: Float[np.ndarray, "v 9"]  # how each vertex answers to harmonics of light
    least_light: Float[np.ndarray, " v"]  # share of the light that reaches it at any rate


def study(head: HeadModel) -> Anatomy:
    """Works out the maps: a few seconds."""
    mirror = lambda curve: np.array(curve) * [-1, 1] + [1, 0]
    both = lambda draw, curve: np.maximum(draw(np.array(curve)), draw(mirror(curve)))
    line = lambda width, blur: lambda curve: noise.soft_line(curve, TEXTURE, width, blur)
    lips = np.concatenate([np.array(LIPS), mirror(LIPS)[::-1]])
    eye = np.concatenate([np.array(UPPER_LID), np.array(LOWER_LID)[::-1]])
    blurred = lambda curve: noise.soft_polygon(curve, TEXTURE, 14.0)
    rest = np.asarray(vertices(head, np.zeros(1, "f4"), np.zeros(52, "f4"), np.zeros(4, "f4")))
    return Anatomy(
        head=head,
        position=_surface_map(head),
        lips=noise.soft_polygon(lips, TEXTURE, 1.5),
        brows=both(line(9, 2.5), BROW),
        upper_lids=both(line(2.2, 0.7), UPPER_LID),
        lower_lids=both(line(1.4, 0.7), LOWER_LID),
        creases=both(line(1.6, 1.4), CREASE),
        sockets=both(blurred, (eye - eye.mean(0)) * [1.25, 2.6] + eye.mean(0)),
        normal=np.asarray(normals(head, rest)),
        transfer=_light_transfer(head, rest),
        least_light=_least_light(head),
    )


def harmonic_bands(x, y, z) -> tuple:
    """Real spherical harmonics up to order 2 of unit vectors; NumPy or JAX arrays."""
    return (0.282095 + 0 * x, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
            1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y))  # fmt: skip


def harmonics(direction: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 9"]:
    """The bands of unit vectors, stacked."""
    return np.stack(harmonic_bands(*np.moveaxis(direction, -1, 0)), -1)


def _surface_map(head: HeadModel) -> np.ndarray:
    """The template's points over the texture, spread beyond the islands' borders."""
    flat = np.concatenate([head.uv * TEXTURE, np.zeros((len(head.uv), 1), "f4")], -1)
    raster = rasterize(flat, head.triangles, TEXTURE, TEXTURE)
    position = np.array(interpolate(head.template, head.triangles, raster))
    known = np.asarray(raster.triangle) >= 0
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)) * 6:
        grown = ~known & np.roll(known, shift, (0, 1))
        position[grown] = np.roll(position, shift, (0, 1))[grown]
        known |= grown
    return position


def _light_transfer(head: HeadModel, rest: np.ndarray) -> np.ndarray:
    """Cosine-weighted visibility of the sky in harmonics; the inside of the mouth seen open."""
    jaw = np.zeros(52, "f4")
    jaw[head.expression_names.index("jawOpen")] = 0.5
    open_mouth = np.asarray(vertices(head, np.zeros(1, "f4"), jaw, np.zeros(4, "f4")))
    inner = np.zeros(len(rest), bool)
    names = ("teeth_up", "teeth_lo", "tongue", "inner_mouth")
    parts = [head.part_names.index(name) for name in names]
    inner[head.triangles[np.isin(head.triangle_part, parts)]] = True
    transfer = _visible_sky(head, rest)
    transfer[inner] = _visible_sky(head, open_mouth)[inner]
    return transfer


def _least_light(head: HeadModel) -> np.ndarray:
    """Light that bounces: much between wet teeth and lips, hardly any in the throat."""
    shares = {"teeth_up": 0.95, "teeth_lo": 0.75, "tongue": 0.2, "inner_mouth": 0.08}
    shares |= {"eye_l": 0.4, "eye_r": 0.4}
    least = np.full(len(head.template), 0.04, "f4")
    for name, share in shares.items():
        least[head.triangles[head.triangle_part == head.part_names.index(name)]] = share
    depth = np.clip((head.template[:, 2] - 0.12) / 0.1, 0.1, 1.0)
    return least * np.where(least > 0.05, depth, 1.0).astype("f4")


def _visible_sky(head: HeadModel, points: np.ndarray) -> np.ndarray:
    index = np.arange(DIRECTIONS) + 0.5
    height, turn = 1 - 2 * index / DIRECTIONS, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    direction = np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], -1).astype("f4")
    normal = np.asarray(normals(head, points))
    total = np.zeros((len(points), 9), "f4")
    for batch in np.split(direction, DIRECTIONS // 16):
        across = np.cross(batch, [0.31, 0.77, 0.55])
        across /= np.linalg.norm(across, axis=-1, keepdims=True)
        frame = np.stack([across, np.cross(batch, across), -batch], 1)
        seen = np.einsum("dij,vj->dvi", frame, points) * [[[0.9, 0.9, 1.0]]]
        pixel = (seen + np.array([0.5, 0.5, 0.0])) * [DEPTH_MAP, DEPTH_MAP, 1.0]
        pixel = pixel.astype("f4")
        depth = np.asarray(rasterize(pixel, head.triangles, DEPTH_MAP, DEPTH_MAP).depth)
        column, row = np.clip(pixel[..., :2].astype(int), 0, DEPTH_MAP - 1).transpose(2, 0, 1)
        in_front = depth[np.arange(len(batch))[:, None], row, column]
        facing = np.maximum(np.einsum("vc,dc->dv", normal, batch), 0.0)
        visible = (seen[..., 2] < in_front + 0.012) * facing
        total += np.einsum("dv,dl->vl", visible, harmonics(batch))
    return total * np.float32(4.0 / DIRECTIONS)  # 4 pi / n, over pi
