"""Beards and lashes: strands that move with the skin."""

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.synthetic.anatomy import UPPER_LID, Anatomy
from invertavatar_jax.data.synthetic.hair import POINTS, Strands, sample_roots
from invertavatar_jax.data.synthetic.noise import bump, step
from invertavatar_jax.data.synthetic.person import Person


def grow_beard(
    rng: np.random.Generator, anatomy: Anatomy, person: Person,
    cover: Float[np.ndarray, " v"], length: float, vertices: Float[np.ndarray, "v 3"],
) -> Strands:  # fmt: skip
    """Short strands that hang from the jaw and the upper lip."""
    head = anatomy.head
    skin = head.triangles[head.triangle_part == 0]
    count = 1100
    roots, carrier = sample_roots(rng, cover, skin, vertices, count)
    along = np.linspace(0, 1, POINTS)
    normal = anatomy.normal[carrier]
    hang = normal * 0.25 + [0.0, -0.9, 0.05] + rng.normal(0, 0.2, (count, 3))
    hang /= np.linalg.norm(hang, axis=-1, keepdims=True)
    reach = (length * rng.uniform(0.5, 1.1, (count, 1)))[..., None]
    points = roots[:, None] + hang[:, None] * along[:, None] * reach
    width = 0.0028 * rng.uniform(0.7, 1.2, (count, 1)) * (1 - 0.7 * along)
    shade = (0.5 + 0.5 * along) * rng.uniform(0.6, 1.0, (count, 1))
    colour = person.hair * np.exp(rng.normal(0.05, 0.2, (count, 1))) * np.ones(3)
    return Strands(points.astype("f4"), width.astype("f4"), colour.astype("f4"),
                   shade.astype("f4"), carrier.astype("i4"))  # fmt: skip


def beard_cover(position: Float[np.ndarray, "*n 3"], kind: str) -> Float[np.ndarray, "*n"]:
    """Where a beard of a kind grows: full, goatee, moustache or none."""
    x, y, z = np.moveaxis(position, -1, 0)
    wide = np.abs(x)
    front = step(z - 0.02, 0.02)
    line = np.interp(wide, (0.0, 0.055, 0.09, 0.13, 0.17), (-0.150, -0.120, -0.105, -0.075, 0.0))
    jaw = step(line - y, 0.007) * step(y + 0.245 + 0.4 * (0.2 - z).clip(0), 0.012) * front
    lip = bump(y + 0.098, 0.011) * step(0.06 - wide, 0.005) * step(z - 0.19, 0.01)
    mouth = np.exp(-((np.square(x / 0.05) + np.square((y + 0.128) / 0.021)) ** 2))
    goatee = jaw * step(0.065 - wide, 0.01)
    kinds = {"full": np.maximum(jaw, lip), "goatee": np.maximum(goatee, lip), "moustache": lip}
    return kinds.get(kind, 0 * jaw) * (1 - mouth)


def grow_lashes(
    rng: np.random.Generator, anatomy: Anatomy, person: Person, vertices: Float[np.ndarray, "v 3"]
) -> Strands:
    """Lashes of the upper lids, which turn with the lids' skin."""
    head, count = anatomy.head, 34
    skin = np.unique(head.triangles[head.triangle_part == 0])
    curve = np.array(UPPER_LID)
    made_up = not person.male and rng.random() < 0.6
    length = rng.uniform(0.009, 0.014) if made_up else rng.uniform(0.004, 0.008)
    place = np.sort(rng.uniform(0.05, 0.97, count))
    at = np.stack([np.interp(place * (len(curve) - 1), range(len(curve)), c) for c in curve.T], -1)
    along, parts = np.linspace(0, 1, POINTS)[:, None], []
    for side in (-1.0, 1.0):
        uv = at if side < 0 else at * [-1, 1] + [1, 0]
        root = skin[np.square(head.uv[skin] - uv[:, None]).sum(-1).argmin(-1)]
        fan = side * (0.45 - place)[:, None] * np.array([1.1, 0.0, 0.0])
        out = fan + np.array([0.0, 0.3, 0.8]) + rng.normal(0, 0.12, (count, 3))
        bend = along * out[:, None] + along**2 * np.array([0.0, 0.75, 0.0])
        reach = length * rng.uniform(0.7, 1.1, (count, 1, 1))
        parts.append((vertices[root][:, None] + reach * bend, root))
    points, root = (np.concatenate(part) for part in zip(*parts, strict=True))
    width = (0.0019 if made_up else 0.0013) * (1 - 0.75 * along[:, 0]) * np.ones((2 * count, 1))
    colour = np.tile(person.hair * (0.15 if made_up else 0.4), (2 * count, 1))
    return Strands(
        points.astype("f4"), width.astype("f4"), colour.astype("f4"),
        np.full(width.shape, 0.7, "f4"), root.astype("i4"),
    )  # fmt: skip
