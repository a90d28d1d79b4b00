"""Where the faces of pictures are, and the square around one that a face network expects."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from invertavatar_jax.export.picture import to_uint8
from invertavatar_jax.fit.crop import FIVE_POINTS
from invertavatar_jax.fit.follow import follow
from invertavatar_jax.fit.landmarks import LANDMARKS, LandmarkNetwork, landmark_network
from invertavatar_jax.metrics import metric
from invertavatar_jax.metrics.metric import Pictures

SIDE = 112  # pixels of an aligned face
# Eyes, tip of the nose, corners of the mouth in an aligned face, pixel centres at .5.
# Source: ArcFace (Deng et al. 2019), whose coordinates have pixel centres at 0.
_EYES = ((38.2946, 51.6963), (73.5318, 51.5014))
_NOSE, _MOUTH = (56.0252, 71.7366), ((41.5493, 92.3655), (70.7299, 92.2041))
ALIGNED_PX = np.array((*_EYES, _NOSE, *_MOUTH)) + 0.5
_MODULES = "modules"  # MediaPipe's folder of networks
_NETWORKS = (
    "face_detection/face_detection_full_range_sparse.tflite",
    "face_detection/face_detection_short_range.tflite",
    "face_landmark/face_landmark_with_attention.tflite",
)


class Detector(NamedTuple):
    """What finds landmarks."""

    network: LandmarkNetwork
    files: dict[str, str] | None  # its networks and their SHA-256; None: the caller's own


def open_detector(network: LandmarkNetwork | None = None) -> Detector:
    """MediaPipe with its own networks, or the caller's."""
    if network is not None:
        return Detector(network, None)
    return Detector(landmark_network(), detector_files())


def find(pictures: Pictures, network: LandmarkNetwork) -> Float[np.ndarray, "n 478 2"]:
    """The landmarks of each picture's largest face, in widths of the picture; NaN without one.

    Every picture is searched alone.
    """
    shown = [to_uint8(picture) for picture in pictures]
    points = np.full((len(shown), LANDMARKS, 2), np.nan)
    for i, found in enumerate(follow(shown, network, is_video=False)):
        if found.points is not None:
            points[i] = found.points[:, :2] / shown[i].shape[1]
    return points


def count_missing(points: Float[np.ndarray, "n p 2"]) -> int:
    """How many pictures have no face."""
    return int(np.isnan(points).any((1, 2)).sum())


def detector_files() -> dict[str, str]:
    """MediaPipe's own networks and their SHA-256."""
    spec = importlib.util.find_spec("mediapipe")
    places = spec.submodule_search_locations if spec is not None else None
    folder = Path(next(iter(places or ("",)))) / _MODULES
    return metric.fingerprints(*(folder / name for name in _NETWORKS if (folder / name).exists()))


def align(
    picture: Float[np.ndarray, "h w 3"], points: Float[np.ndarray, "478 2"]
) -> UInt8[np.ndarray, "112 112 3"]:
    """Turns, scales and cuts a face so that its five points come to lie at ALIGNED_PX.

    The similarity is the best in the sense of least squares; bilinear; black beyond the picture.

    Args:
        points: of `find`.

    Source: ArcFace (Deng et al. 2019), section 4.1.
    """
    five = points[FIVE_POINTS].mean(1) * picture.shape[1]
    source, target = (x[:, 0] + 1j * x[:, 1] for x in (five, ALIGNED_PX))
    away = source - source.mean()
    turn = np.vdot(away, target - target.mean()) / np.vdot(away, away).real
    back = 1 / turn  # source = back * (target - its mean) + mean of source
    shift = source.mean() - back * target.mean()
    rows = (back.real, -back.imag, shift.real, back.imag, back.real, shift.imag)
    return np.asarray(
        Image.fromarray(to_uint8(picture)).transform(
            (SIDE, SIDE), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR
        )
    )
