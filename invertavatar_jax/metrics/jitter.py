"""How much a result trembles: second differences over time under a drive that stands still."""

import numpy as np
from jaxtyping import Float

from invertavatar_jax.fit.landmarks import LandmarkNetwork
from invertavatar_jax.metrics import faces
from invertavatar_jax.metrics.metric import LOWER, Found, Metric, Pictures

SIDE_PX = 512  # landmarks are counted in pixels of a picture of this width


def landmark_jitter(points: Float[np.ndarray, "t n 2"]) -> Found:
    """The mean length of the landmarks' second differences, one value for each inner frame.

    Straight, even motion counts 0; white noise of deviation s in x and y counts 3.07 s.

    Args:
        points: in widths of the picture; NaN where no face was found, which leaves out the
            frames before and after too.

    Raises:
        ValueError: there are fewer than three frames.
    """
    _check_length(len(points))
    apart = np.diff(np.asarray(points, np.float64), n=2, axis=0)
    values = np.linalg.norm(apart, axis=-1).mean(-1) * SIDE_PX
    counts = {"frames": len(points), "frames_without_face": faces.count_missing(points)}
    return Found(values, counts)


def image_jitter(images: Pictures) -> Found:
    """The mean absolute second difference, in units of the range of [-1, 1]; inner frames.

    Raises:
        ValueError: there are fewer than three frames.
    """
    _check_length(len(images))
    values = []
    for trio in zip(images, images[1:], images[2:], strict=False):
        values.append(np.abs(np.diff(np.asarray(trio, np.float64), n=2, axis=0)).mean() / 2)
    return Found(np.array(values), {"frames": len(images)})


def landmarks(network: LandmarkNetwork | None = None) -> Metric:
    """Landmark jitter of (images), with landmarks as MediaPipe finds them.

    Every frame is searched anew, so the detector's own trembling is in the figure: compare it
    with that of real pictures of a face at rest.
    """
    detector = faces.open_detector(network)
    measure = lambda images: landmark_jitter(faces.find(images, detector.network))
    unit = f"px of {SIDE_PX}"
    return Metric("landmark_jitter", unit, LOWER, detector.files, measure)


def image() -> Metric:
    """Image jitter of (images)."""
    return Metric("image_jitter", "of the range", LOWER, None, image_jitter)


def _check_length(frames: int) -> None:
    if frames < 3:
        raise ValueError(f"got {frames} frames; expected 3 or more: jitter is a second difference")
