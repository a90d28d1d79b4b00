"""Faces for tests that need no detector: landmarks written into pictures, and read again."""

import numpy as np

from invertavatar_jax.fit.landmarks import IRIS_LEFT, IRIS_RIGHT, LANDMARKS

SIDE = 64  # pixels; a landmark network refuses faces of less than 16
EYES = 0.25  # between the irises, in sides of the picture


def landmarks(shift=(0.0, 0.0), scale=1.0) -> np.ndarray:
    """A face of 478 points, in sides of the picture, about its centre."""
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (LANDMARKS, 2))
    points[[IRIS_RIGHT, IRIS_LEFT]] = [(-EYES / 2, -0.05), (EYES / 2, -0.05)]
    return 0.5 + points * scale + np.asarray(shift)


class Detector:
    """Knows the landmarks of pictures by their level; -1, black, shows no face."""

    def __init__(self):
        self._known = {}

    def picture(self, points: np.ndarray | None, side: int = SIDE) -> np.ndarray:
        """A picture in which `find` sees the points, given in sides of the picture."""
        level = 0 if points is None else 1 + len(self._known)
        if points is not None:
            self._known[level] = points
        return np.full((side, side, 3), level / 127.5 - 1, np.float32)

    def find(self, picture, most):
        """As a landmark network; only whole pictures show a face, cut ones have black in them."""
        level = int(picture.max())
        whole = picture.min() == level and len(set(picture.shape[:2])) == 1
        if not level or not whole or picture.shape[0] == 320:  # looks closer see nothing
            return []
        points = np.zeros((LANDMARKS, 3), np.float32)
        points[:, :2] = self._known[level] * picture.shape[1]
        return [points]
