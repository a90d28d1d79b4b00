"""How far a face's landmarks lie from those of the face that drove it.

The paper gives no unit for its "average keypoint distance". Its values reach 2.05 (Table 2),
farther than two points of one picture can lie apart in units of the side, so it is not that
unit; in distances between the eyes all of them are possible. That is the default here. Compare
methods by one of these, and neither with the paper's column as if it were the same unit.
"""

import numpy as np
from jaxtyping import Float

from invertavatar_jax.fit.landmarks import IRIS_LEFT, IRIS_RIGHT, LandmarkNetwork
from invertavatar_jax.metrics import faces
from invertavatar_jax.metrics.metric import LOWER, Found, Metric, Pictures, check_pairs

NORMALISATIONS = {
    "interocular": "distances between the driving face's irises",
    "side": "sides of the picture",
}


def distances(
    got: Float[np.ndarray, "n 478 2"], wanted: Float[np.ndarray, "m 478 2"], normalisation: str
) -> Float[np.ndarray, " n"]:
    """The mean distance over the landmarks, for each pair of faces; NaN where one is NaN.

    Args:
        got: in widths of the picture, as of `faces.find`.
        wanted: of the driving faces, likewise; m is n or 1.

    Raises:
        ValueError: the normalisation is unknown.
    """
    _check(normalisation)
    apart = np.linalg.norm(np.asarray(got, np.float64) - wanted, axis=-1).mean(-1)
    if normalisation == "side":
        return apart
    return apart / np.linalg.norm(wanted[:, IRIS_LEFT] - wanted[:, IRIS_RIGHT], axis=-1)


def make(normalisation: str = "interocular", network: LandmarkNetwork | None = None) -> Metric:
    """Average keypoint distance of (generated images, driving images), a value for each pair.

    The pictures are squares; each pair shows the same window. All 478 landmarks of MediaPipe
    count alike. Pairs without a face in either picture are NaN, in no mean, and counted.

    Args:
        network: finds the landmarks; MediaPipe by default.

    Raises:
        ValueError: the normalisation is unknown.

    Source: paper section 4.1 and Tables 1, 2 and 5 (which name MediaPipe, and no unit).
    """
    _check(normalisation)
    detector = faces.open_detector(network)

    def measure(got: Pictures, wanted: Pictures) -> Found:
        check_pairs(got, wanted)
        points, driving = (faces.find(x, detector.network) for x in (got, wanted))
        counts = {
            "pairs": len(got),
            "generated_without_face": faces.count_missing(points),
            "driving_without_face": faces.count_missing(driving),
        }
        return Found(distances(points, driving, normalisation), counts)

    unit = NORMALISATIONS[normalisation]
    return Metric(f"akd[{normalisation}]", unit, LOWER, detector.files, measure)


def _check(normalisation: str) -> None:
    if normalisation not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise ValueError(f"got normalisation {normalisation!r}, expected one of {known}")
