"""Gaze from the irises: where the ray through an iris meets its eyeball."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from invertavatar_jax.fit.camera import FOCAL
from invertavatar_jax.fit.landmarks import IRIS_LEFT, IRIS_RIGHT
from invertavatar_jax.fit.morphable import HeadModel

MOST_RAD = np.deg2rad(40.0)  # eyes turn no further
OPEN = 0.12  # height of the lids' gap over its width; below it the eye counts as shut
# The detector sets irises too low: by this share of the distance between them, the mean over
# renders whose gaze is known.
IRIS_DROP = 0.016
BOTH_EYES = 0.7  # share of the two eyes' mean in each eye's gaze: eyes move together


# Gaze at which lids and brows go with the eyes fully: ARKit's eyeLook weights are 1 there.
FULL_YAW_RAD, FULL_PITCH_RAD = 0.5, 0.4


class Eye(NamedTuple):
    """Landmarks of one eye: centre of the iris, corners, middles of the lids."""

    iris: int
    corners: tuple[int, int]
    lids: tuple[int, int]


LEFT = Eye(IRIS_LEFT, (362, 263), (386, 374))
RIGHT = Eye(IRIS_RIGHT, (33, 133), (159, 145))


def eye_opening(points: Float[np.ndarray, "t 478 c"], eye: Eye) -> Float[np.ndarray, " t"]:
    """Height of the gap between the lids over its width."""
    length = lambda pair: np.linalg.norm(points[:, pair[0], :2] - points[:, pair[1], :2], axis=-1)
    return length(eye.lids) / np.maximum(length(eye.corners), 1e-6)


def find_gaze(
    head: HeadModel,
    identity: Float[np.ndarray, " k"],
    rotation: Float[np.ndarray, "t 3 3"],
    translation: Float[np.ndarray, "t 3"],
    image: Float[np.ndarray, "t 478 2"],
) -> Float[np.ndarray, "t 4"]:
    """Gaze of the left and the right eye: yaw, pitch each, radians.

    The eyeball's place is corrected by where the eye's corners are seen. Shut eyes take the
    other eye's gaze; two shut eyes the time's neighbours'.

    Args:
        image: landmarks in units of the crop's side.
    """
    angles, opened = [], []
    for eye, vertices in ((LEFT, head.eye_left), (RIGHT, head.eye_right)):
        angles.append(_angles(head, identity, rotation, translation, image, eye, vertices))
        opened.append(eye_opening(image, eye) > OPEN)
    return _together(np.stack(angles, 1), np.stack(opened, 1))


def _angles(head, identity, rotation, translation, image, eye: Eye, vertices):
    person = lambda v: head.template[v] + np.tensordot(identity, head.identity[:, v], 1)
    known = {int(number): row for row, number in enumerate(head.landmark_index)}
    once = vertices[head.weld[vertices] == vertices]
    ball = person(once)
    centre = ball.mean(0)
    radius = np.linalg.norm(ball - centre, axis=-1).max()
    rows = [known[number] for number in eye.corners]
    corners = np.einsum(
        "lk,lkc->lc", head.landmark_weights[rows], person(head.landmark_vertices[rows])
    )
    see = lambda point: _see(point, rotation, translation)
    offset = image[:, list(eye.corners)].mean(1) - np.mean([see(c)[0] for c in corners], axis=0)
    offset[:, 1] += IRIS_DROP * np.linalg.norm(image[:, IRIS_LEFT] - image[:, IRIS_RIGHT], axis=-1)
    place = see(centre)[1]
    ray = np.concatenate(
        ((image[:, eye.iris] - offset - 0.5) / FOCAL, np.ones((len(image), 1))), axis=-1
    )
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    nearest = (ray * place).sum(-1, keepdims=True)
    inside = radius**2 - (np.square(place).sum(-1, keepdims=True) - nearest**2)
    direction = ray * (nearest - np.sqrt(np.maximum(inside, 0.0))) - place
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    in_head = np.einsum("tji,tj->ti", rotation, direction)
    yaw = np.arctan2(in_head[:, 0], in_head[:, 2])
    pitch = np.arcsin(np.clip(in_head[:, 1], -1.0, 1.0))
    return np.clip(np.stack((yaw, pitch), -1), -MOST_RAD, MOST_RAD)


def _see(point, rotation, translation) -> tuple[np.ndarray, np.ndarray]:
    place = point @ np.swapaxes(rotation, -1, -2) + translation
    return FOCAL * place[:, :2] / place[:, 2:] + 0.5, place


def _together(angles: Float[np.ndarray, "t 2 2"], opened: Bool[np.ndarray, "t 2"]) -> np.ndarray:
    weight = opened[..., None].astype(float)
    total = weight.sum(1)
    common = (angles * weight).sum(1) / np.maximum(total, 1.0)
    some = np.flatnonzero(opened.any(1))
    if len(some):
        time = np.arange(len(angles))
        common = np.stack([np.interp(time, some, common[some, i]) for i in range(2)], -1)
    own = np.where(opened[..., None], angles, common[:, None])
    mixed = BOTH_EYES * common[:, None] + (1 - BOTH_EYES) * own
    return mixed.reshape(len(angles), 4).astype(np.float32)


def eye_looks(
    names: tuple[str, ...], gaze_rad: Float[np.ndarray, "t 4"]
) -> Float[np.ndarray, "t e"]:
    """Weights of ARKit's eyeLook expressions that go with a gaze; NaN for all others."""
    result = np.full((len(gaze_rad), len(names)), np.nan, np.float32)
    for side, column, outwards in (("Left", 0, 1.0), ("Right", 2, -1.0)):
        out = gaze_rad[:, column] * outwards / FULL_YAW_RAD
        up = gaze_rad[:, column + 1] / FULL_PITCH_RAD
        for name, amount in (("Out", out), ("In", -out), ("Up", up), ("Down", -up)):
            if f"eyeLook{name}{side}" in names:
                result[:, names.index(f"eyeLook{name}{side}")] = np.clip(amount, 0.0, 1.0)
    return result
