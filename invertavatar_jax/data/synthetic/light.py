"""Light of a scene: soft directional lights and a sky, as spherical harmonics."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.synthetic.anatomy import harmonics

COSINE = np.repeat([1.0, 2.0 / 3.0, 0.25], [1, 3, 5]).astype("f4")  # of a clamped cosine, over pi


class Lights(NamedTuple):
    """Lights in the scene's axes: x right, y up, z towards the camera. The first is the key."""

    direction: Float[np.ndarray, "n 3"]
    colour: Float[np.ndarray, "n 3"]
    softness: Float[np.ndarray, " n"]  # 0 a point, 1 half the sky
    sky: Float[np.ndarray, "3"]
    ground: Float[np.ndarray, "3"]


def sample_lights(rng: np.random.Generator) -> Lights:
    """A key light from above the camera's side, sometimes a fill and a rim, and a soft sky."""
    warmth = lambda spread: np.exp(rng.normal(0, spread) * np.array([0.5, 0.0, -0.6]))
    count = rng.integers(1, 4)
    yaw = np.array([rng.normal(0, 0.75), rng.normal(0, 1.0), rng.choice([-1, 1]) * 2.4])
    pitch = np.array([rng.normal(0.55, 0.3), rng.normal(0.2, 0.3), rng.normal(0.3, 0.3)])
    direction = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    strength = np.array([rng.uniform(0.6, 1.8), rng.uniform(0.05, 0.45), rng.uniform(0.1, 0.8)])
    colour = strength[:, None] * np.stack([warmth(0.16) for _ in range(3)])
    ambient = rng.uniform(0.15, 0.55) * warmth(0.12)
    return Lights(
        direction.T[:count].astype("f4"),
        colour[:count].astype("f4"),
        rng.uniform(0.0, 0.8, count).astype("f4"),
        (ambient * rng.uniform(0.9, 1.25)).astype("f4"),
        (ambient * rng.uniform(0.4, 0.9) * warmth(0.1)).astype("f4"),
    )


def radiance(lights: Lights, world_from_scene: Float[np.ndarray, "3 3"]) -> np.ndarray:
    """Harmonics of the incoming light in the head's axes, [9, 3]."""
    direction = lights.direction @ world_from_scene.T
    falloff = np.repeat([1.0, 0.85, 0.55], [1, 3, 5])
    fade = 1.0 - lights.softness[:, None] * (1.0 - falloff)
    total = np.pi * np.einsum("nl,nc->lc", harmonics(direction) * fade, lights.colour)
    up = world_from_scene[:, 1]
    mean, tilt = 0.5 * (lights.sky + lights.ground), 0.5 * (lights.sky - lights.ground)
    total[0] += 3.5449 * mean  # the integral of the first harmonic of an even sky
    total[1:4] += 2.0466 * 0.75 * np.array([up[1], up[2], up[0]])[:, None] * tilt
    return total.astype("f4")


def exposed(lights: Lights, brightness: float) -> Lights:
    """Scales the lights so that a surface facing the camera's upper side gets `brightness`."""
    normal = np.array([[0.0, 0.3, 0.954], [0.5, 0.1, 0.86], [-0.5, 0.1, 0.86]], "f4")
    falling = (harmonics(normal) * COSINE) @ radiance(lights, np.eye(3, dtype="f4"))
    gain = np.float32(brightness / max(float(falling.mean()), 0.05))
    return lights._replace(
        colour=lights.colour * gain, sky=lights.sky * gain, ground=lights.ground * gain
    )
