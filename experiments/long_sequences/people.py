"""One person as the systems see them: frames that make the avatar, others that score it."""

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from experiments.evaluation.footage import Footage
from invertavatar_jax import frames
from invertavatar_jax.avatar import Observation
from invertavatar_jax.frames import Geometry, Prepared
from invertavatar_jax.metrics import image
from invertavatar_jax.types import Camera, Drive


class Noise(NamedTuple):
    """Standard deviations of what tracking gets wrong in a frame."""

    expression: float = 0.03
    gaze_rad: float = 0.03
    camera_rad: float = 0.003


class Person:
    """A clip, whose first moments make the avatar; all is computed when first asked for."""

    def __init__(self, clip: Footage, geometry: Geometry, moments: int, held_out: int, seed: int):
        """Splits the clip.

        Args:
            moments: frames that avatars are made of, from the beginning.
            held_out: frames that they are scored on, spread over the rest.
        """
        self.name, self.clip, self.geometry = clip.name, clip, geometry
        self.moments, self.seed = moments, seed
        rest = len(clip.frames) - moments
        self.scored = [moments + (i + 1) * rest // (held_out + 1) for i in range(held_out)]
        self.readings: dict[str, dict[int, Any]] = {}  # kept for systems that read alike
        self._kept: dict[int, Prepared] = {}
        self._drives: Drive | None = None

    def observation(self, number: int) -> Observation:
        """Frame `number` of an endless clip: there and back, tracked anew on each of both ways.

        The way there and the way back are 2 * moments frames, which repeat.
        """
        number %= 2 * self.moments
        moment = min(number, 2 * self.moments - 1 - number)
        rng = np.random.default_rng([self.seed, number])
        return add_noise(self.clip.frames[moment], Noise(), rng)

    def prepare(self, seen: Observation) -> Prepared:
        """A frame as the networks read it."""
        return Prepared(*frames.make_frame(self.geometry, seen), seen.identity)

    def frame(self, number: int) -> Prepared:
        """`observation`, prepared."""
        number %= 2 * self.moments
        if number not in self._kept:
            self._kept[number] = self.prepare(self.observation(number))
        return self._kept[number]

    def drives(self) -> Drive:
        """What drives the held-out frames: their exact coefficients."""
        if self._drives is None:
            seen = [self.clip.frames[i] for i in self.scored]
            stack = lambda name: np.stack([getattr(one, name) for one in seen])
            camera = Camera(*map(np.stack, zip(*[one.camera for one in seen], strict=True)))
            fields = (stack(name) for name in ("identity", "expression", "gaze_rad"))
            self._drives = frames.make_drives(self.geometry, *fields, camera)
        return self._drives

    def score(self, images: np.ndarray) -> dict[str, float]:
        """Means over the held-out frames, where the head is."""
        truth, head = self.clip.truth[self.scored], self.clip.head[self.scored]
        mean = lambda measure: float(np.mean(list(map(measure, images, truth, head))))
        return {"psnr": mean(image.psnr), "l1": mean(image.l1), "ssim": mean(image.ssim)}


def add_noise(seen: Observation, noise: Noise, rng: np.random.Generator) -> Observation:
    """The same picture, tracked less well: the camera turns about the middle of the head."""
    expression = seen.expression + rng.normal(0, noise.expression, len(seen.expression))
    gaze = seen.gaze_rad + rng.normal(0, noise.gaze_rad, len(seen.gaze_rad))
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = Rotation.from_rotvec(rng.normal(0, noise.camera_rad, 3)).as_matrix()
    return seen._replace(
        expression=np.clip(expression, 0, 1).astype(np.float32),
        gaze_rad=gaze.astype(np.float32),
        camera=seen.camera._replace(world_from_camera=turn @ seen.camera.world_from_camera),
    )
