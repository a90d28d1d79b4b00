"""Average keypoint distance of faces that were moved by hand."""

import numpy as np
import pytest

from invertavatar_jax.metrics import akd, faces
from tests.metrics.people import EYES, Detector, landmarks

SHIFT = (0.03, -0.04)  # 0.05 long, in sides of the picture


@pytest.mark.parametrize(("normalisation", "expected"), [("side", 0.05), ("interocular", 0.2)])
@pytest.mark.parametrize("side", [64, 96])
def test_a_shifted_face_is_as_far_away_as_the_shift(normalisation, expected, side):
    detector = Detector()
    driving = [detector.picture(landmarks()), detector.picture(landmarks(scale=0.5))]
    moved = [landmarks(SHIFT), landmarks(SHIFT, scale=0.5)]
    score = akd.make(normalisation, detector)([detector.picture(p, side) for p in moved], driving)
    far = [expected, expected * (2 if normalisation == "interocular" else 1)]
    np.testing.assert_allclose(score.values, far, rtol=1e-4)
    assert score.name == f"akd[{normalisation}]"


def test_a_grown_face_is_as_far_away_as_its_points_moved():
    detector = Detector()
    score = akd.make("interocular", detector)(
        [detector.picture(landmarks(scale=1.1))], [detector.picture(landmarks())]
    )
    expected = 0.1 * np.linalg.norm(landmarks() - 0.5, axis=1).mean() / EYES
    np.testing.assert_allclose(score.values, [expected], rtol=1e-4)


def test_pairs_without_a_face_are_counted_and_in_no_mean():
    detector = Detector()
    driving, moved = detector.picture(landmarks()), detector.picture(landmarks(SHIFT))
    nothing = detector.picture(None)
    score = akd.make("side", detector)([moved, nothing, moved], [driving, driving, nothing])
    np.testing.assert_array_equal(np.isnan(score.values), [False, True, True])
    assert score.mean == pytest.approx(0.05, rel=1e-4)
    counts = {"pairs": 3, "generated_without_face": 1, "driving_without_face": 1}
    assert score.counts == counts == score.report()["counts"]


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match="expected one of interocular, side"):
        akd.make("pixels")


def test_the_score_names_mediapipe_s_networks():
    names = set(faces.detector_files())
    assert "face_landmark_with_attention.tflite" in names and len(names) == 3
