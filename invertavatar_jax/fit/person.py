"""Fits one person's identity to all frames, and to each frame a pose, an expression, a gaze."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.fit import pose
from invertavatar_jax.fit.crop import smooth
from invertavatar_jax.fit.gaze import eye_looks, find_gaze
from invertavatar_jax.fit.landmarks import IRIS_LEFT, IRIS_RIGHT
from invertavatar_jax.fit.morphable import HeadModel

IDENTITY_FRAMES = 16
BLOCK = 32  # frames that one compiled call fits
FIXED = 1e4  # precision that holds an expression at its goal
# Over time: widths of the means that frames are drawn to, in frames, and how strongly.
POSE_FRAMES, EXPRESSION_FRAMES, GAZE_FRAMES = 1.5, 1.5, 1.0
TURN_PRECISION, SHIFT_PRECISION = 2e5, 2e5
EXPRESSION_PRECISION = 100.0


class Person(NamedTuple):
    """What fits n frames."""

    identity: Float[np.ndarray, " k"]
    motion: pose.Motion
    gaze_rad: Float[np.ndarray, "n 4"]
    error_iod: Float[np.ndarray, "n l"]  # of each landmark, over the distance between the irises


def fit_person(
    head: HeadModel,
    image: Float[np.ndarray, "n 478 2"],
    index: Int[np.ndarray, " n"],
    runs: Int[np.ndarray, " n"] | None,
) -> Person:
    """Fits identity to some frames, then every frame, then every frame with its neighbours.

    Args:
        image: landmarks in units of the crop's side.
        index: each frame's place in time.
        runs: stretches of a video without cuts; None for photos, which have no neighbours.
    """
    observed = image[:, head.landmark_index].astype(np.float32)
    face = pose.face_at_landmarks(head)
    start = pose.frontal(len(observed), len(head.expression_names))
    identity = _fit_identity(face, observed, len(head.expression_names))
    looks = eye_looks(head.expression_names, np.zeros((len(observed), 4), np.float32))
    pull = _hold(pose.no_pull(start), looks)
    motion, _ = _fit_blocks(face, identity, start, observed, pull)
    identity = np.asarray(identity)
    gaze = find_gaze(head, identity, motion.rotation, motion.translation, image)
    if runs is not None:
        gaze = smooth(gaze, index, runs, GAZE_FRAMES)
        pull = _towards_neighbours(motion, index, runs)
    pull = _hold(pull, eye_looks(head.expression_names, gaze))
    motion, error = _fit_blocks(face, identity, motion, observed, pull)
    eyes = np.linalg.norm(image[:, IRIS_LEFT] - image[:, IRIS_RIGHT], axis=-1)
    return Person(identity, motion, gaze, error / np.maximum(eyes, 1e-6)[:, None])


def _fit_identity(face: pose.Face, observed: np.ndarray, expressions: int):
    count = len(observed)
    chosen = np.unique(np.linspace(0, count - 1, min(count, IDENTITY_FRAMES)).round().astype(int))
    size = _block(len(chosen), IDENTITY_FRAMES)
    padded, share = _pad(observed[chosen], size)
    identity, _ = pose.fit_identity(
        face, pose.frontal(size, expressions), jnp.asarray(padded), jnp.asarray(share)
    )
    return identity


def _hold(pull: pose.Pull, goal: Float[np.ndarray, "n e"]) -> pose.Pull:
    """Holds the expressions that have a goal; the others' goal is NaN."""
    known = np.isfinite(goal)
    towards = np.where(known, goal, pull.goal.expression).astype(np.float32)
    precision = np.where(known, FIXED, pull.expression).astype(np.float32)
    return pull._replace(goal=pull.goal._replace(expression=towards), expression=precision)


def _towards_neighbours(motion: pose.Motion, index, runs) -> pose.Pull:
    """Draws each frame towards the mean of its neighbours in time."""
    turned = smooth(motion.rotation, index, runs, POSE_FRAMES)
    left, _, right = np.linalg.svd(turned)
    goal = pose.Motion(
        (left @ right).astype(np.float32),
        smooth(motion.translation, index, runs, POSE_FRAMES),
        smooth(motion.expression, index, runs, EXPRESSION_FRAMES),
    )
    precision = np.repeat(np.float32([TURN_PRECISION, SHIFT_PRECISION]), 3)
    return pose.Pull(
        goal,
        np.broadcast_to(precision, (len(index), 6)),
        np.full_like(goal.expression, EXPRESSION_PRECISION),
    )


def _block(count: int, most: int) -> int:
    """A power of two that holds `count` frames, or the largest block: few compilations."""
    return min(1 << (count - 1).bit_length(), most)


def _pad(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeats the last entry up to `count`, so that one compiled function fits all lengths."""
    extra = np.repeat(values[-1:], count - len(values), axis=0)
    share = (np.arange(count) < len(values)).astype(np.float32)
    return np.concatenate((values, extra)), share


def _fit_blocks(
    face: pose.Face, identity, start: pose.Motion, observed: np.ndarray, pull: pose.Pull
) -> tuple[pose.Motion, np.ndarray]:
    """Fits all frames, a block at a time; NumPy results."""
    motions, errors, size = [], [], _block(len(observed), BLOCK)
    for first in range(0, len(observed), size):
        used = min(size, len(observed) - first)
        cut = lambda x, stop=first + used, first=first: jnp.asarray(
            _pad(np.asarray(x[first:stop]), size)[0]
        )
        begin = pose.Motion(*map(cut, start))
        goal = pose.Motion(*map(cut, pull.goal))
        towards = pose.Pull(goal, cut(pull.pose), cut(pull.expression))
        motion, error = pose.fit_motion(face, identity, begin, cut(observed), towards)
        motions.append([np.asarray(x)[:used] for x in motion])
        errors.append(np.asarray(error)[:used])
    joined = pose.Motion(*(np.concatenate(x) for x in zip(*motions, strict=True)))
    return joined, np.concatenate(errors)
