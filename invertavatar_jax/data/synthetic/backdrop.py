"""Backgrounds: out-of-focus rooms, walls and streets in mostly grey tones."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFilter

from invertavatar_jax.data.synthetic.noise import smooth_noise


def paint_background(rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """A picture without people: a shaded wall, often with blurred shapes before it."""
    tone, spread = rng.uniform(0.06, 0.95), 0.03 * rng.exponential()
    base = np.clip(tone + rng.normal(0, spread, 3), 0.02, 1)
    picture = Image.new("RGB", (size, size), _bytes(base))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.7:
        for _ in range(rng.integers(2, 16)):
            _shape(rng, draw, size, tone)
    blur = float(rng.choice([0.006, 0.02, 0.045, 0.09], p=[0.12, 0.28, 0.35, 0.25])) * size
    scene = np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255.0
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    slope = rng.normal(0, 0.3, 2)
    vignette = 1 - rng.uniform(0, 0.5) * (x * x + y * y)
    cloth = 0.05 * smooth_noise(rng, size, 4) + 0.02 * rng.random() * smooth_noise(rng, size, 60)
    shaded = scene * (np.exp(slope[0] * x + slope[1] * y + cloth) * vignette)[..., None]
    return np.round(np.clip(shaded, 0, 1) * 255).astype(np.uint8)


def _shape(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int, tone: float) -> None:
    """A window, shelf, post, lamp or patch of foliage."""
    grey = np.clip(tone + rng.normal(0, 0.25), 0.02, 1.0)
    tint = rng.normal(0, 1, 3) * rng.choice([0.02, 0.06, 0.2], p=[0.5, 0.35, 0.15])
    colour = _bytes(np.clip(grey + tint - tint.mean(), 0.01, 1))
    x, y = rng.uniform(-0.2, 1.0, 2) * size
    kind = rng.choice(["panel", "post", "shelf", "lamp", "leaves"], p=[0.35, 0.2, 0.2, 0.15, 0.1])
    if kind == "lamp":
        r = rng.uniform(0.02, 0.09) * size
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_bytes(np.clip(np.ones(3) + tint, 0, 1)))
    elif kind == "leaves":
        for _ in range(30):
            dx, dy = rng.normal(0, 0.12 * size, 2).tolist()
            r = rng.uniform(0.01, 0.04) * size
            leaf = np.array([0.25, 0.36, 0.2]) * rng.uniform(0.4, 1.5)
            draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=_bytes(leaf))
    else:
        wide = {"panel": (0.15, 0.5), "post": (0.02, 0.1), "shelf": (0.3, 1.0)}[str(kind)]
        tall = {"panel": (0.2, 0.6), "post": (0.5, 1.2), "shelf": (0.01, 0.06)}[str(kind)]
        draw.rectangle((x, y, x + rng.uniform(*wide) * size, y + rng.uniform(*tall) * size), colour)


def _bytes(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour * 255, 0, 255).astype(int).tolist()
    return red, green, blue
