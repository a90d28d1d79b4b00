"""Which face is followed, how a lost one is found again, and that nothing is invented."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from invertavatar_jax.fit import landmarks
from invertavatar_jax.fit.follow import face_box, follow, search
from invertavatar_jax.fit.landmarks import MOST_FACES


def face_points(x: float, y: float, side: float) -> np.ndarray:
    """478 points that fill a square."""
    rng = np.random.default_rng(0)
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = rng.uniform(-0.5, 0.5, (478, 2)) * side + (x, y)
    points[:2, :2] = [[x - side / 2, y - side / 2], [x + side / 2, y + side / 2]]
    return points


class BrightSquares:
    """A network whose faces are bright squares, one level of brightness each."""

    def find(self, picture, most):
        found = []
        for level in (250, 200, 150):
            rows, columns = np.nonzero(np.abs(picture[..., 0].astype(int) - level) < 10)
            height, width = picture.shape[:2]
            if len(rows) > 40:
                cut = min(rows.min(), columns.min()) < 2
                if cut or rows.max() > height - 3 or columns.max() > width - 3:
                    continue  # a square that the picture cuts is no face
                side = max(np.ptp(rows), np.ptp(columns)) + 1
                if len(rows) < 0.7 * side**2:
                    continue  # the rim of a brighter square, blurred
                found.append(face_points(columns.mean() + 0.5, rows.mean() + 0.5, side))
        return found[:most]


def picture(*squares: tuple[int, int, int, int]) -> np.ndarray:
    """Squares of (x, y, side, brightness) on black."""
    canvas = np.zeros((240, 320, 3), np.uint8)
    for x, y, side, level in squares:
        canvas[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = level
    return canvas


def centres(found) -> list:
    return [None if f.points is None else face_box(f.points)[0].round().tolist() for f in found]


@pytest.fixture
def network():
    return BrightSquares()


def test_the_larger_of_two_faces_is_taken_and_both_are_counted(network):
    (found,) = follow([picture((80, 80, 40, 200), (220, 150, 70, 250))], network)
    np.testing.assert_allclose(face_box(found.points)[0], (220, 150), atol=2)
    assert found.faces == 2


def test_another_face_can_be_chosen(network):
    frame = picture((80, 80, 40, 200), (220, 150, 70, 250))
    (found,) = follow([frame], network, face=1)
    np.testing.assert_allclose(face_box(found.points)[0], (80, 80), atol=2)
    (absent,) = follow([frame], network, face=2)
    assert absent.points is None


def test_the_same_face_is_followed_when_another_becomes_larger(network):
    frames = [picture((100 + 4 * t, 100, 60, 250), (250, 180, 40 + 8 * t, 200)) for t in range(8)]
    for t, found in enumerate(follow(frames, network)):
        np.testing.assert_allclose(face_box(found.points)[0], (100 + 4 * t, 100), atol=2)


def test_a_lost_face_is_marked_and_found_again_elsewhere(network):
    frames = [picture((80, 80, 50, 250)), picture(), picture((250, 170, 50, 250))]
    first, lost, again = follow(frames, network)
    assert first.points is not None and lost.points is None
    np.testing.assert_allclose(face_box(again.points)[0], (250, 170), atol=2)


def test_a_stranger_does_not_replace_a_lost_face(network):
    frames = [
        picture((80, 80, 50, 250)),
        picture((280, 40, 50, 200), (280, 200, 50, 150)),
    ]
    assert list(follow(frames, network))[1].points is None


def test_photos_are_searched_one_by_one(network):
    frames = [picture((80, 80, 50, 250)), picture((250, 170, 60, 200), (60, 60, 40, 150))]
    found = list(follow(frames, network, is_video=False))
    np.testing.assert_allclose(face_box(found[1].points)[0], (250, 170), atol=2)


def test_one_face_is_not_counted_twice(network):
    assert len(search(picture((150, 120, 70, 250)), network)) == 1


@pytest.fixture(scope="module")
def mediapipe():
    return landmarks.landmark_network()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


def test_mediapipe_finds_the_eyes_of_a_portrait(mediapipe, astronaut):
    (points,) = mediapipe.find(astronaut, 1)
    assert points.shape == (landmarks.LANDMARKS, 3)
    # where a person sees the irises in this photo
    np.testing.assert_allclose(points[landmarks.IRIS_RIGHT, :2], (203.5, 100.5), atol=4)
    np.testing.assert_allclose(points[landmarks.IRIS_LEFT, :2], (247.5, 102.5), atol=4)


def test_a_face_of_forty_pixels_is_found(mediapipe, astronaut):
    small = np.asarray(Image.fromarray(astronaut).resize((192, 192)))
    canvas = np.full((480, 640, 3), 90, np.uint8)
    canvas[250:442, 400:592] = small
    (found,) = follow([canvas], mediapipe, is_video=False)
    expected = (400 + 224 * 192 / 512, 250 + 124 * 192 / 512)
    np.testing.assert_allclose(face_box(found.points)[0], expected, atol=4)


def test_noise_has_no_face(mediapipe):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    assert mediapipe.find(noise, MOST_FACES) == []


def test_the_matte_holds_the_person_and_not_the_corner(astronaut):
    matte = landmarks.Matting().matte(astronaut)
    assert matte.shape == astronaut.shape[:2] and matte.dtype == np.uint8
    assert matte[120, 225] > 200  # the face
    assert matte[:60, 400:].mean() < 60  # the wall


def test_nothing_is_written_to_the_terminal(capfd, astronaut):
    landmarks.landmark_network().find(astronaut, 1)
    assert capfd.readouterr().err == ""


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"face\.task"):
        landmarks.landmark_network(tmp_path / "face.task")
