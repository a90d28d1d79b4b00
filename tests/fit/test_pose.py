"""The solver finds what made the landmarks, keeps its bounds, and ignores outliers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from invertavatar_jax.fit import camera, newton, pose
from invertavatar_jax.fit.morphable import load_head_model

FRAMES = 4


@pytest.fixture(scope="module")
def face() -> pose.Face:
    """The bundled head, with few components so that it compiles quickly."""
    whole = pose.face_at_landmarks(load_head_model())
    return whole._replace(identity=whole.identity[:10])


@pytest.fixture(scope="module")
def truth(face):
    """Identity and motion of some frames, and where the landmarks are."""
    rng = np.random.default_rng(3)
    identity = jnp.asarray(rng.normal(0, 0.7, 10), jnp.float32)
    expression = np.zeros((FRAMES, len(face.sparsity)), np.float32)
    expression[:, rng.choice(52, 5)] = rng.uniform(0.2, 0.8, (FRAMES, 5))
    expression[0] = 0
    poses = camera.invert(camera.orbit(rng.uniform(-0.5, 0.5, FRAMES), 0.1, 2.6))
    motion = pose.Motion(
        jnp.asarray(poses[:, :3, :3]), jnp.asarray(poses[:, :3, 3]), jnp.asarray(expression)
    )
    image = jax.vmap(pose.project, (None, None, 0))(face, identity, motion)
    return identity, motion, image


def start() -> pose.Motion:
    return pose.frontal(FRAMES, 52)


def frame(motion: pose.Motion, i: int) -> pose.Motion:
    return jax.tree.map(lambda x: x[i], motion)


def test_derivatives_equal_automatic_ones(face, truth):
    identity, motion, _ = truth
    one = frame(motion, 1)
    _, by_frame, by_identity = pose._jacobians(face, identity, one)
    # the bounds' clip has no derivative at 0, so compare in the middle
    one = one._replace(expression=jnp.full(52, 0.5))
    _, by_frame, by_identity = pose._jacobians(face, identity, one)
    step = jnp.full(58, 1e-4)  # rotation's formula has no derivative at exactly 0
    moved = jax.jacfwd(lambda s: pose.project(face, identity, pose._moved(one, s)))(step)
    shaped = jax.jacfwd(lambda i: pose.project(face, i, one))(identity)
    np.testing.assert_allclose(by_frame, moved, atol=5e-4)
    np.testing.assert_allclose(by_identity, shaped, atol=1e-5)


def test_motion_is_found_from_a_frontal_start(face, truth):
    identity, motion, image = truth
    found, error = pose.fit_motion(face, identity, start(), image, pose.no_pull(start()), steps=12)
    assert np.median(error) < 1e-3  # of the crop's side; a quarter of it lies between the eyes
    turned = jnp.einsum("tij,tkj->tik", found.rotation, motion.rotation)
    angle = np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.max() < 0.02
    np.testing.assert_allclose(found.translation, motion.translation, atol=0.05)


def test_identity_and_motion_are_found_together(face, truth):
    identity, _, image = truth
    everyone = jnp.ones(FRAMES)
    found, motion = pose.fit_identity(face, start(), image, everyone, steps=20)
    placed = jax.vmap(pose.project, (None, None, 0))(face, found, motion)
    assert np.median(np.linalg.norm(placed - image, axis=-1)) < 1e-3
    assert np.corrcoef(found, identity)[0, 1] > 0.8


def test_expressions_stay_in_bounds_whatever_is_seen(face, truth):
    identity, _, image = truth
    wild = image + 0.05 * np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    found, _ = pose.fit_motion(face, identity, start(), wild, pose.no_pull(start()))
    assert found.expression.min() >= 0 and found.expression.max() <= 1
    assert np.isfinite(found.translation).all()


def test_a_tenth_of_wild_landmarks_changes_little(face, truth):
    identity, _, image = truth
    rng = np.random.default_rng(1)
    wild = np.array(image)
    some = rng.permutation(image.shape[1])[: image.shape[1] // 10]
    wild[:, some] += rng.uniform(-0.2, 0.2, (FRAMES, len(some), 2))
    pull = pose.no_pull(start())
    clean, _ = pose.fit_motion(face, identity, start(), image, pull, steps=12)
    found, _ = pose.fit_motion(face, identity, start(), wild, pull, steps=12)
    put = lambda motion: jax.vmap(pose.project, (None, None, 0))(face, identity, motion)
    assert np.abs(put(found) - put(clean)).max() < 0.01


def test_padding_has_no_influence_on_identity(face, truth):
    _, _, image = truth
    share = jnp.array([1.0, 1.0, 0.0, 0.0])
    noise = jnp.concatenate((image[:2], 0.5 + 0 * image[2:]))
    first, _ = pose.fit_identity(face, start(), image, share)
    second, _ = pose.fit_identity(face, start(), noise, share)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_strong_pull_holds_a_frame_at_its_goal(face, truth):
    identity, motion, image = truth
    strong = pose.Pull(motion, jnp.full((FRAMES, 6), 1e9), jnp.full((FRAMES, 52), 1e9))
    shifted = image + 0.02
    found, _ = pose.fit_motion(face, identity, motion, shifted, strong)
    for got, goal in zip(found, motion, strict=True):
        np.testing.assert_allclose(got, goal, atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_bounded_step_is_the_quadratics_minimum(seed):
    rng = np.random.default_rng(seed)
    size = 14
    root = rng.normal(size=(40, size))
    goal = rng.normal(size=40) * 2
    expression = rng.uniform(0, 1, size - 6).astype(np.float32)
    expression[:3] = (0, 1, 0)
    curvature, gradient = root.T @ root, -root.T @ goal
    step = newton.bounded_step(
        jnp.asarray(curvature, jnp.float32),
        jnp.asarray(gradient, jnp.float32),
        jnp.asarray(expression),
    )
    low = np.concatenate((np.full(6, -np.inf), -expression - 1e-9))
    high = np.concatenate((np.full(6, np.inf), 1 - expression + 1e-9))
    best = lsq_linear(root, goal, (low, high)).x
    value = lambda s: 0.5 * s @ curvature @ s + gradient @ s
    # the active set may stop a round early: nearly as good, and never outside
    assert value(np.asarray(step, float)) <= value(best) + 0.06 * abs(value(best))
    assert (np.asarray(step) >= low - 1e-6).all() and (np.asarray(step) <= high + 1e-6).all()
