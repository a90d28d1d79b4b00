"""A made-up data set in the released layout: noise of the right shapes, made in no time."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from invertavatar_jax.data import released

MAPS = 256  # side of rasters and UV maps


def write_layout(root: Path, counts: dict[str, int], *, side: int, seed: int = 0) -> Path:
    """Clips of noise by name and number of frames; pictures of `side` pixels."""
    rng = np.random.default_rng(seed)
    noise = lambda *shape: rng.integers(0, 256, shape, np.uint8)
    numbers = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float16)
    labels = []
    for clip, count in counts.items():
        for index in range(count):
            name = f"{clip}/{index:05d}"
            raster, uv = numbers(MAPS, MAPS, 4), numbers(MAPS, MAPS, 3)
            raster[..., 2:] = np.abs(raster[..., 2:])
            uv[..., 2] = uv[..., 2] > 0
            save(root / released.RASTERS / f"{name}.npy", raster)
            save(root / released.COEFFICIENTS / f"{name}.npy", np.zeros(610, np.float32))
            save(root / released.UVS / f"{name}.npy", uv)
            save(root / released.UVS / f"{name}_uvgttex.png", noise(MAPS, MAPS, 3))
            save(root / released.IMAGES / f"{name}.png", noise(side, side, 3))
            save(root / released.HEADS / f"{name}.png", noise(side, side))
            save(root / released.CONTOURS / f"{name}.png", noise(side, side, 3))
            labels.append([f"{name}.png", rng.normal(size=25).tolist()])
    for file in released.LABELS:
        (root / released.IMAGES / file).write_text(json.dumps({"labels": labels}))
    return root


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path, compress_level=0)
