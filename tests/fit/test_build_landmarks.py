"""Landmarks are put back where simulated detections came from."""

from importlib import resources

import jax
import numpy as np
import pytest

from invertavatar_jax.fit import build_landmarks, camera
from invertavatar_jax.fit.morphable import HeadModel, load_head_model, vertices
from invertavatar_jax.types import Camera

COUNT, SIGHTINGS = 5, 80


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def known(head) -> tuple[np.ndarray, np.ndarray]:
    """Some points of the face: corners of triangles and weights."""
    rows = np.searchsorted(head.landmark_index, [13, 33, 105, 159, 425])
    return head.landmark_vertices[rows], head.landmark_weights[rows]


@pytest.fixture(scope="module")
def seen(head, known) -> build_landmarks.Sightings:
    """Faces in motion, with detections off by 2 % of the eyes' distance, some of them wild."""
    rng = np.random.default_rng(0)
    expression = rng.uniform(0, 1, (SIGHTINGS, 52)) * (rng.random((SIGHTINGS, 52)) < 0.1)
    identity = rng.normal(0, 0.7, (SIGHTINGS, 10))
    place = jax.jit(lambda i, e: vertices(head, i, e, np.zeros((SIGHTINGS, 4), np.float32)))
    points = np.asarray(place(identity.astype(np.float32), expression.astype(np.float32)))
    pose = camera.orbit(rng.uniform(-0.5, 0.5, SIGHTINGS), rng.uniform(-0.2, 0.2, SIGHTINGS))
    view = Camera(pose, np.broadcast_to(camera.intrinsics(), (SIGHTINGS, 3, 3)))
    image = camera.project(view, points)[0]
    landmark = np.einsum("lk,nlkc->nlc", known[1], image[:, known[0]])
    landmark += rng.normal(0, 0.02 * 0.25, landmark.shape)
    landmark[::10] += 0.1
    distance = np.full(SIGHTINGS, 0.25)
    return build_landmarks.Sightings(landmark, image, distance, np.arange(SIGHTINGS))


def test_landmarks_return_to_their_place(head, known, seen, monkeypatch):
    monkeypatch.setattr(build_landmarks, "MESH_LANDMARKS", COUNT)
    corners, weights = build_landmarks.place_landmarks(head, seen)
    at = lambda c, w: np.einsum("lk,lkc->lc", w, head.template[c])
    away = np.linalg.norm(at(corners, weights) - at(*known), axis=-1)
    assert away.max() < 0.006  # world units: 2.4 mm
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert np.median(build_landmarks.distances(seen, corners, weights)) < 0.03


def test_mirroring_twice_leads_back(head):
    mirror = build_landmarks.mirror_vertices(head)
    there_and_back = head.template[mirror][mirror]
    np.testing.assert_allclose(there_and_back, head.template, atol=1e-5)
    left, right = head.template[:, 0], head.template[mirror][:, 0]
    np.testing.assert_allclose(left, -right, atol=1e-4)


def test_writing_landmarks_changes_nothing_else(tmp_path, known):
    source = resources.files("invertavatar_jax") / "assets/head_makehuman.npz"
    path = tmp_path / "head.npz"
    path.write_bytes(source.read_bytes())
    build_landmarks.write_landmarks(path, np.arange(COUNT), *known)
    changed, original = load_head_model(path), load_head_model()
    np.testing.assert_array_equal(changed.landmark_index, np.arange(COUNT))
    np.testing.assert_allclose(changed.landmark_weights, known[1])
    np.testing.assert_array_equal(changed.landmark_vertices, known[0])
    for name in set(HeadModel._fields) - {
        "landmark_index",
        "landmark_vertices",
        "landmark_weights",
    }:
        np.testing.assert_array_equal(getattr(changed, name), getattr(original, name))
    assert list(tmp_path.iterdir()) == [path]


def test_the_bundled_head_holds_symmetric_landmarks(head):
    at = np.einsum("lk,lkc->lc", head.landmark_weights, head.template[head.landmark_vertices])
    place = dict(zip(head.landmark_index.tolist(), at, strict=True))
    for right, left in ((33, 263), (133, 362), (61, 291), (159, 386), (105, 334), (78, 308)):
        np.testing.assert_allclose(place[right] * [-1, 1, 1], place[left], atol=0.004)
    assert place[13][1] > place[14][1]  # upper lip over lower lip
    assert place[159][1] > place[145][1]  # upper lid over lower lid
    assert abs(place[4][0]) < 0.003  # the tip of the nose
