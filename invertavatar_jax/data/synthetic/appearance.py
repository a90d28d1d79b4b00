"""Paints a person's skin, lips, brows, eyes, teeth and stubble into the head's texture."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

from invertavatar_jax.data.synthetic.anatomy import BROW, TEXTURE, Anatomy
from invertavatar_jax.data.synthetic.noise import bump, linear, mix, smooth_noise, step
from invertavatar_jax.data.synthetic.person import Person
from invertavatar_jax.fit.head_layout import SLOTS

Texture = Float[np.ndarray, "t t 3"]


def paint(
    rng: np.random.Generator,
    anatomy: Anatomy,
    person: Person,
    scalp: Float[np.ndarray, "t t"],
    stubble: Float[np.ndarray, "t t"],
) -> Texture:
    """Albedo in linear light; row 0 is v = 0.

    Args:
        scalp, stubble: how much hair's colour covers the skin of the head and of the jaw.
    """
    texture = _skin(rng, anatomy, person)
    texture = _age(rng, anatomy, person, texture)
    texture = _lips(rng, anatomy, person, texture)
    texture = _eye_surround(rng, anatomy, person, texture)
    texture = _brows(rng, anatomy, person, texture)
    strands = 1 + 0.25 * smooth_noise(rng, TEXTURE, 128)
    texture = mix(texture, person.hair * 0.55, np.clip(stubble * strands, 0, 0.9))
    texture = mix(texture, person.hair * 0.6, np.clip(scalp * (0.85 + 0.15 * strands), 0, 0.97))
    _eyes(rng, person, texture)
    _mouth(rng, texture)
    return np.clip(texture, 0.002, 0.95).astype("f4")


def _skin(rng: np.random.Generator, anatomy: Anatomy, person: Person) -> Texture:
    x, y, z = np.moveaxis(anatomy.position, -1, 0)
    ruddy = bump(np.abs(x) - 0.105, 0.045) * bump(y + 0.045, 0.05) * step(z - 0.1, 0.02)
    ruddy += 0.7 * bump(x, 0.03) * bump(y + 0.04, 0.03) * step(z - 0.2, 0.02)  # tip of the nose
    ruddy += 0.5 * step(np.abs(x) - 0.185, 0.008) * step(z + 0.05, 0.02) * bump(y - 0.02, 0.07)
    blotches = 0.6 * smooth_noise(rng, TEXTURE, 14) + 0.4 * smooth_noise(rng, TEXTURE, 40)
    redness = rng.uniform(0.05, 0.38) * ruddy + rng.uniform(0.02, 0.08) * blotches
    fine = rng.uniform(0.01, 0.03) * smooth_noise(rng, TEXTURE, 220)
    fine += 0.03 * smooth_noise(rng, TEXTURE, 64) * rng.random()
    yellow = 0.03 * smooth_noise(rng, TEXTURE, 6)
    red = np.array([0.10, -0.45, -0.40], "f4")
    log = redness[..., None] * red + fine[..., None] + yellow[..., None] * [0.2, 0.0, -0.8]
    texture = person.skin * np.exp(log)
    spots = _spots(rng, person) * step(0.17 - y, 0.01)  # the layout stretches the scalp
    return texture * (1 - spots[..., None] * np.array([0.45, 0.6, 0.7]))


def _spots(rng: np.random.Generator, person: Person) -> np.ndarray:
    """Moles and freckles."""
    spots = np.zeros((TEXTURE, TEXTURE), "f4")
    freckled = rng.random() < 0.25 and person.skin[0] > 0.4
    if freckled:
        field = smooth_noise(rng, TEXTURE, 120)
        spots += rng.uniform(0.2, 0.5) * step(field - 1.3, 0.12)
    rows, columns = np.mgrid[-4:5, -4:5]
    for _ in range(rng.poisson(4 + 8 * person.age)):
        row, column = rng.integers((130, 100), (430, 410))
        blob = bump(np.hypot(rows, columns * 0.8), rng.uniform(0.7, 1.7)) * rng.uniform(0.2, 0.9)
        spots[row - 4 : row + 5, column - 4 : column + 5] += blob
    return np.clip(spots, 0, 0.95)


def _age(rng: np.random.Generator, anatomy: Anatomy, person: Person, texture: Texture) -> Texture:
    """Lines from nose to mouth, across the forehead and beside the eyes."""
    x, y, z = np.moveaxis(anatomy.position, -1, 0)
    front = step(z - 0.12, 0.015)
    strength = np.clip(person.age * rng.uniform(0.6, 1.3) - 0.1, 0.03, 1)
    fold = bump(np.abs(x) - (0.052 - 0.35 * (y + 0.075)), 0.0055) * bump(y + 0.085, 0.03)
    waves = np.maximum(0, np.cos((y + 0.6 * x * x + 0.002 * smooth_noise(rng, TEXTURE, 12)) * 300))
    forehead = waves**5 * bump(y - 0.145, 0.03) * step(0.1 - np.abs(x), 0.012)
    rays = np.maximum(0, np.cos((y - 0.04) / (np.abs(np.abs(x) - 0.10) + 0.02) * 9)) ** 4
    crow = rays * bump(np.abs(x) - 0.128, 0.011) * bump(y - 0.042, 0.02)
    lines = front * (0.55 * fold + 0.3 * forehead + 0.3 * crow) * strength
    return texture * np.exp(-np.clip(lines, 0, 1)[..., None] * [0.7, 1.0, 1.0])


def _lips(rng: np.random.Generator, anatomy: Anatomy, person: Person, texture: Texture) -> Texture:
    painted = not person.male and rng.random() < 0.5
    if painted:
        bright = linear([[0.62, 0.15, 0.17], [0.72, 0.35, 0.36], [0.45, 0.15, 0.20]])
        colour, share = bright[rng.integers(3)] * rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.9)
    else:
        colour = person.skin * np.array([0.80, 0.45, 0.47]) * rng.uniform(0.8, 1.15)
        share = rng.uniform(0.35, 0.85)
    creases = 1 + 0.07 * smooth_noise(rng, TEXTURE, 180)
    return mix(texture, colour * creases[..., None], anatomy.lips * share)


def _eye_surround(
    rng: np.random.Generator, anatomy: Anatomy, person: Person, texture: Texture
) -> Texture:
    """Shade of the sockets, the lids' crease, lashes and make-up."""
    tired = rng.uniform(0.0, 0.18) + 0.15 * person.age
    log = anatomy.sockets[..., None] * np.array([0.45, 0.6, 0.5]) * tired
    log = log + anatomy.creases[..., None] * np.array([0.7, 0.9, 0.9]) * rng.uniform(0.3, 0.9)
    texture = texture * np.exp(-log)
    made_up = not person.male and rng.random() < 0.55
    if made_up and rng.random() < 0.5:
        shadow = person.skin * np.array([0.6, 0.42, 0.45]) * rng.uniform(0.6, 1.4, 3)
        y = anatomy.position[..., 1]
        texture = mix(texture, shadow, anatomy.sockets * step(y - 0.055, 0.006) * 0.45)
    lash = person.hair * 0.4 * (0.3 if made_up else 1.0)
    texture = mix(texture, lash, anatomy.upper_lids * (0.95 if made_up else rng.uniform(0.5, 0.9)))
    pink = person.skin * np.array([0.85, 0.55, 0.52])
    edge = lash if made_up else pink
    return mix(texture, edge, anatomy.lower_lids * rng.uniform(0.3, 0.7))


def _brows(rng: np.random.Generator, anatomy: Anatomy, person: Person, texture: Texture) -> Texture:
    """Hairs drawn as short strokes over a soft ground."""
    bush = rng.uniform(0.4, 1.0) * (1.0 if person.male else 0.8)
    lift, thick = rng.uniform(-0.004, 0.006), rng.uniform(0.6, 1.3) * (1.0 if person.male else 0.75)
    strokes = Image.new("L", (2 * TEXTURE, 2 * TEXTURE))
    pen = ImageDraw.Draw(strokes)
    u, v = np.array(BROW).T
    for _ in range(int(170 * bush)):
        at = rng.beta(1.1, 1.0)
        x = u[0] + at * (u[-1] - u[0])
        y = np.interp(x, u, v) + lift + rng.normal(0, 0.0042) * thick * (0.45 + 0.55 * at)
        run, rise = -0.016 * rng.uniform(0.6, 1.2), 0.010 * (at - 0.35) + rng.normal(0, 0.002)
        for a, b in ((x, x + run), (1 - x, 1 - x - run)):
            ends = np.array([a, y, b, y + rise]) * 2 * TEXTURE
            pen.line(ends.tolist(), fill=int(rng.uniform(120, 255)), width=2)
    soft = strokes.filter(ImageFilter.GaussianBlur(1.0)).resize((TEXTURE, TEXTURE))
    hairs = np.asarray(soft, np.float32) / 255.0
    ground = np.roll(anatomy.brows, round(lift * TEXTURE), 0) ** (1.6 / thick)
    cover = np.clip(0.45 * bush * ground + 0.85 * hairs, 0, 0.93)
    return mix(texture, person.hair * 0.5, cover)


def _slot(name: str) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """A slot's texels, and their coordinates across and upwards in [-1, 1]."""
    u0, v0, u1, v1 = (round(value * TEXTURE) for value in SLOTS[name])
    across = (np.arange(u0, u1) + 0.5 - 0.5 * (u0 + u1)) / (0.5 * (u1 - u0))
    upwards = (np.arange(v0, v1) + 0.5 - 0.5 * (v0 + v1)) / (0.5 * (v1 - v0))
    return (slice(v0, v1), slice(u0, u1)), *np.meshgrid(across, upwards)


def _eyes(rng: np.random.Generator, person: Person, texture: Texture) -> None:
    white = linear([0.90, 0.88, 0.86]) * rng.uniform(0.85, 1.1)
    size, pupil = rng.uniform(0.36, 0.41), rng.uniform(0.34, 0.5)
    for name in ("eye_l", "eye_r"):
        window, across, upwards = _slot(name)
        radius, turn = np.hypot(across, upwards), np.arctan2(upwards, across)
        inside = radius / size
        fibres = 1 + 0.25 * np.cos(turn * 31 + 4 * np.sin(turn * 5)) * bump(inside - 0.7, 0.25)
        ring = 1.15 - 0.85 * step(inside - 0.88, 0.04) + 0.5 * bump(inside - pupil - 0.12, 0.08)
        iris = person.iris * (fibres * ring)[..., None]
        iris = mix(iris, np.full(3, 0.004), step(pupil - inside, 0.02))
        veins = np.clip(radius - 0.5, 0, 1)[..., None] * np.array([0.12, 0.45, 0.4])
        ball = white * np.exp(-veins * rng.uniform(0.5, 1.4))
        texture[window] = mix(ball, iris, step(1.0 - inside, 0.03))


def _mouth(rng: np.random.Generator, texture: Texture) -> None:
    enamel = linear([0.87, 0.83, 0.75]) * rng.uniform(0.7, 1.05)
    for name in ("teeth_up", "teeth_lo"):
        window, across, _ = _slot(name)
        gaps = np.maximum(0, np.cos(across * np.pi * (5.0 if name == "teeth_up" else 6.0))) ** 10
        texture[window] = enamel * np.exp(-gaps * 0.9)[..., None]
    window, across, _ = _slot("tongue")
    texture[window] = linear([0.68, 0.36, 0.36]) * (1 - 0.25 * bump(across, 0.15))[..., None]
    window, _, _ = _slot("inner_mouth")
    texture[window] = linear([0.52, 0.24, 0.23]) * rng.uniform(0.5, 1.0)
    for name in ("socket_l", "socket_r"):
        window, _, _ = _slot(name)
        texture[window] = linear([0.66, 0.40, 0.37])
