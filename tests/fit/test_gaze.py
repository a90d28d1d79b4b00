"""Gaze is read back from irises drawn at known angles; shut eyes do not disturb it."""

import numpy as np
import pytest

from invertavatar_jax.fit import camera, gaze
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.types import Camera

COUNT = 5


@pytest.fixture(scope="module")
def head():
    return load_head_model()


def scene(head, angles: np.ndarray, view: np.ndarray):
    """Landmarks of the template's eyes, with the irises turned by (yaw, pitch)."""
    pose = camera.invert(view)
    corners = head.template[head.landmark_vertices]
    points = np.zeros((478, 3))
    points[head.landmark_index] = (corners * head.landmark_weights[..., None]).sum(1)
    image = np.zeros((COUNT, 478, 2))
    for eye, vertices in ((gaze.LEFT, head.eye_left), (gaze.RIGHT, head.eye_right)):
        ball = head.template[vertices[head.weld[vertices] == vertices]]
        centre = ball.mean(0)
        radius = np.linalg.norm(ball - centre, axis=1).max()
        for t, (yaw, pitch) in enumerate(angles):
            forward = [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
            points[eye.iris] = centre + radius * np.array(forward)
            seen, _ = camera.project(Camera(view[t], camera.intrinsics()), points)
            known = [*head.landmark_index, eye.iris]
            image[t, known] = seen[known]
    between = np.linalg.norm(image[:, gaze.IRIS_LEFT] - image[:, gaze.IRIS_RIGHT], axis=-1)
    for eye in (gaze.LEFT, gaze.RIGHT):  # as the detector does
        image[:, eye.iris, 1] += gaze.IRIS_DROP * between
    identity = np.zeros(len(head.identity), np.float32)
    return identity, pose[:, :3, :3], pose[:, :3, 3], image


def test_gaze_is_found_from_turned_heads(head):
    angles = np.array([[0, 0], [0.3, 0], [-0.3, 0.1], [0.1, 0.2], [0, -0.2]])
    view = camera.orbit(np.linspace(-0.4, 0.4, COUNT), 0.1)
    found = gaze.find_gaze(head, *scene(head, angles, view))
    np.testing.assert_allclose(found[:, :2], angles, atol=0.03)
    np.testing.assert_allclose(found[:, 2:], angles, atol=0.03)


def test_shut_eyes_take_the_neighbours_gaze(head):
    angles = np.tile([[0.2, 0.1]], (COUNT, 1))
    parts = scene(head, angles, np.repeat(camera.orbit(0.0, 0.0)[None], COUNT, 0))
    image = parts[3]
    for eye in (gaze.LEFT, gaze.RIGHT):
        image[2, eye.lids[0]] = image[2, eye.lids[1]]
        image[2, eye.iris] += 0.05
    found = gaze.find_gaze(head, *parts)
    np.testing.assert_allclose(found[2], found[1], atol=0.02)


def test_lids_follow_the_gaze_and_nothing_else_is_set():
    names = ("jawOpen", "eyeLookOutLeft", "eyeLookInLeft", "eyeLookOutRight", "eyeLookUpRight")
    found = gaze.eye_looks(names, np.array([[0.25, 0, 0.25, 0.8]], np.float32))
    np.testing.assert_allclose(found[0], [np.nan, 0.5, 0.0, 0.0, 1.0])
