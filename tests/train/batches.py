"""Random batches as data.training deals them out, at the sizes of the preset tiny_paper."""

import numpy as np

from invertavatar_jax import settings
from tests.train.conftest import front_camera_numbers

MODEL = settings.preset("tiny_paper")


def draw(count: int, frames: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of `count` clips."""
    rng = np.random.default_rng(seed)
    lead, h, u = (count, frames), MODEL.renderer.image_resolution, MODEL.uv_resolution
    bytes_ = lambda *shape: rng.integers(0, 256, shape, dtype=np.uint8)
    unit = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)

    def raster(*lead):
        face = np.zeros((*lead, MODEL.raster_resolution, MODEL.raster_resolution, 1), np.float32)
        face[..., 4:-4, 4:-4, :] = 1
        return np.concatenate([unit(*face.shape[:-1], 2), face], -1)

    camera = lambda *lead: np.broadcast_to(front_camera_numbers(), (*lead, 25)).copy()
    return {
        "image": bytes_(*lead, h, h, 3),
        "matte": bytes_(*lead, h, h, 1),
        "landmarks": bytes_(*lead, h, h, 3),
        "uv_rgb": bytes_(*lead, u, u, 3),
        "uv_xy": unit(*lead, u, u, 2),
        "uv_visible": (unit(*lead, u, u, 1) > 0).astype(np.float32),
        "raster": raster(*lead),
        "camera": camera(*lead),
        "clip": np.arange(count * frames, dtype=np.int32).reshape(lead),
        "frame": np.zeros(lead, np.int32),
        "other_camera": camera(count),
        "other_raster": raster(count),
        "other_landmarks": bytes_(count, h, h, 3),
    }
