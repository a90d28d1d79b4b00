"""Gauss-Newton fit of a morphable head to landmarks: one identity, a pose and a face per frame.

Coordinates of the image are units of the crop's side, x right and y down. A frame's head has
a pose (camera_from_head) and expression weights in [0, 1]; both enter one linear system per
step, whose bounds are kept by an active set.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax.fit.camera import FOCAL, RADIUS
from invertavatar_jax.fit.landmarks import BROWS, LIDS, LIPS, OVAL
from invertavatar_jax.fit.morphable import HeadModel
from invertavatar_jax.fit.newton import DAMPING, accept, bounded_step, solve


class Face(NamedTuple):
    """The head model at its landmarks, and the priors of the fit."""

    template: Float[Array, "n 3"]
    identity: Float[Array, "k n 3"]
    expression: Float[Array, "e n 3"]
    weight: Float[Array, " n"]  # of each landmark
    sparsity: Float[Array, " e"]  # cost of each expression's weight, first power
    ridge: Float[Array, " e"]  # and half its square
    mirror: Float[Array, "e e"]  # quadratic cost of differences between left and right


class Motion(NamedTuple):
    """What one frame's fit finds; leading axis t after stacking."""

    rotation: Float[Array, "*t 3 3"]  # camera_from_head
    translation: Float[Array, "*t 3"]
    expression: Float[Array, "*t e"]


class Pull(NamedTuple):
    """A prior that draws a frame towards a motion: precisions per coordinate."""

    goal: Motion
    pose: Float[Array, "*t 6"]
    expression: Float[Array, "*t e"]


NOISE = 0.0040  # of a landmark: 1.5 % of the distance between the eyes in a crop
ROBUST = 2.5  # residuals beyond this many NOISE lose weight (Geman-McClure)
CORRELATED = 12.0  # neighbouring landmarks err alike: so many count as one
IDENTITY_RIDGE = 1.0  # coefficients have unit variance
SPARSITY, RIDGE, MIRROR = 1.0, 2.0, 4.0
# Precision relative to other landmarks: lids, lips and brows are seen exactly and move little,
# the face's outline slides over the cheeks as the head turns.
WEIGHTS = ((LIDS, 6.0), (LIPS, 3.0), (BROWS, 3.0), (OVAL, 0.2))


def face_at_landmarks(head: HeadModel) -> Face:
    """Gathers the rows of the head model that landmarks read, and the default priors."""
    at = lambda points: jnp.asarray(
        np.einsum("lk,...lkc->...lc", head.landmark_weights, points[..., head.landmark_vertices, :])
    )
    names = head.expression_names
    ones = np.ones(len(names), np.float32)
    mirror = np.zeros((len(names), len(names)), np.float32)
    for i, name in enumerate(names):
        if name.endswith("Left") and not name.startswith(("mouthLeft", "jawLeft")):
            j = names.index(name[: -len("Left")] + "Right")
            mirror[[i, j], [i, j]] += MIRROR
            mirror[[i, j], [j, i]] -= MIRROR
    return Face(
        at(head.template),
        at(head.identity),
        at(head.expression),
        jnp.asarray(_trust(head.landmark_index)),
        jnp.asarray(SPARSITY * ones),
        jnp.asarray(RIDGE * ones),
        jnp.asarray(mirror),
    )


def _trust(numbers: np.ndarray) -> Float[np.ndarray, " n"]:
    """Weight of each landmark among the others."""
    weight = np.ones(len(numbers), np.float32)
    for group, value in WEIGHTS:
        weight[np.isin(numbers, group)] = value
    return weight


def frontal(count: int, expressions: int) -> Motion:
    """The start: a neutral face seen from the front."""
    turn = np.broadcast_to(np.diag(np.array([1, -1, -1], np.float32)), (count, 3, 3))
    away = np.broadcast_to(np.array([0, 0, RADIUS], np.float32), (count, 3))
    return Motion(jnp.asarray(turn), jnp.asarray(away), jnp.zeros((count, expressions)))


def no_pull(motion: Motion) -> Pull:
    """A prior without weight."""
    count, expressions = motion.expression.shape
    return Pull(motion, jnp.zeros((count, 6)), jnp.zeros((count, expressions)))


def project(face: Face, identity: Float[Array, " k"], motion: Motion) -> Float[Array, "n 2"]:
    """Where a frame's landmarks fall in the crop."""
    return _see(face, identity, motion)[0]


def _see(face: Face, identity: Float[Array, " k"], motion: Motion):
    head = face.template + jnp.einsum("k,knc->nc", identity, face.identity)
    head = head + jnp.einsum("e,enc->nc", motion.expression, face.expression)
    turned = head @ motion.rotation.T
    seen = turned + motion.translation
    return FOCAL * seen[:, :2] / seen[:, 2:] + 0.5, turned, seen


def _jacobians(face: Face, identity: Float[Array, " k"], motion: Motion):
    """Image coordinates and their derivatives by pose (turn, shift), expression, identity."""
    image, turned, seen = _see(face, identity, motion)
    depth = seen[:, 2]
    zero = jnp.zeros_like(depth)
    by_x = jnp.stack((FOCAL / depth, zero, -FOCAL * seen[:, 0] / depth**2), -1)
    by_y = jnp.stack((zero, FOCAL / depth, -FOCAL * seen[:, 1] / depth**2), -1)
    by_seen = jnp.stack((by_x, by_y), axis=1)  # n 2 3
    # d(turned) = turn x turned, so the row by_seen gives (turned x by_seen) . turn
    by_turn = jnp.cross(turned[:, None, :], by_seen)
    by_head = by_seen @ motion.rotation
    by_expression = jnp.einsum("nic,enc->nie", by_head, face.expression)
    by_identity = jnp.einsum("nic,knc->nik", by_head, face.identity)
    return image, jnp.concatenate((by_turn, by_seen, by_expression), -1), by_identity


def _annealed(steps: int) -> Float[Array, " steps"]:
    """Width of the robust loss at each step.

    It starts wide, and with little weight against the priors, so that the pose settles before
    the shape follows.
    """
    return jnp.asarray(ROBUST * (1.0 + 15.0 * 0.5 ** np.arange(steps)), jnp.float32)


def _weights(face: Face, residual: Float[Array, "n 2"], width) -> Float[Array, " n"]:
    noise = NOISE * width / ROBUST
    square = jnp.square(residual / (ROBUST * noise)).sum(-1)
    return face.weight / (CORRELATED * noise**2 * jnp.square(1.0 + square))


def _cost(face: Face, identity: Float[Array, " k"], motion: Motion, image, pull: Pull, width):
    """What the system of one frame minimises, identity's own prior left out."""
    noise = NOISE * width / ROBUST
    residual = _see(face, identity, motion)[0] - image
    square = jnp.square(residual / (ROBUST * noise)).sum(-1)
    data = 0.5 * ROBUST**2 / CORRELATED * (face.weight * square / (1.0 + square)).sum()
    e, away = motion.expression, motion.expression - pull.goal.expression
    prior = (face.sparsity * e).sum() + 0.5 * (face.ridge * e * e).sum()
    prior = prior + 0.5 * e @ face.mirror @ e + 0.5 * (pull.expression * away**2).sum()
    return data + prior + 0.5 * (pull.pose * jnp.square(_pose_away(motion, pull))).sum()


def _pose_away(motion: Motion, pull: Pull) -> Float[Array, "6"]:
    """The small turn and the shift that lead from the goal to the motion."""
    d = motion.rotation @ pull.goal.rotation.T
    turn = 0.5 * jnp.stack((d[2, 1] - d[1, 2], d[0, 2] - d[2, 0], d[1, 0] - d[0, 1]))
    return jnp.concatenate((turn, motion.translation - pull.goal.translation))


def _frame_system(
    face: Face, identity: Float[Array, " k"], motion: Motion, image, pull: Pull, width, damping
):
    """Normal equations of one frame: curvature and slope for (pose, expression), and identity."""
    seen, by_frame, by_identity = _jacobians(face, identity, motion)
    residual = seen - image
    weight = _weights(face, residual, width)
    weigh = lambda jacobian: weight[:, None, None] * jacobian
    pair = lambda a, b: jnp.einsum("nip,niq->pq", weigh(a), b)
    slope = lambda a: jnp.einsum("nip,ni->p", weigh(a), residual)
    curvature, gradient = pair(by_frame, by_frame), slope(by_frame)
    e = motion.expression
    prior = jnp.diag(face.ridge + pull.expression) + face.mirror
    gradient = gradient.at[6:].add(
        face.sparsity
        + face.ridge * e
        + face.mirror @ e
        + pull.expression * (e - pull.goal.expression)
    )
    gradient = gradient.at[:6].add(pull.pose * _pose_away(motion, pull))
    curvature = curvature.at[6:, 6:].add(prior)
    curvature = curvature + jnp.diag(jnp.concatenate((pull.pose, jnp.zeros_like(e))))
    curvature = curvature + damping * jnp.diag(jnp.diag(curvature))
    return (
        (curvature, gradient),
        pair(by_frame, by_identity),
        (pair(by_identity, by_identity), slope(by_identity)),
    )


def _moved(motion: Motion, step: Float[Array, " p"]) -> Motion:
    turn = step[:3]
    angle = jnp.sqrt(jnp.square(turn).sum() + 1e-20)
    x, y, z = turn
    cross = jnp.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation = jnp.eye(3) + jnp.sin(angle) / angle * cross
    rotation = rotation + (1 - jnp.cos(angle)) / angle**2 * cross @ cross
    return Motion(
        rotation @ motion.rotation,
        motion.translation + step[3:6],
        jnp.clip(motion.expression + step[6:], 0.0, 1.0),
    )


@partial(jax.jit, static_argnames="steps")
def fit_motion(
    face: Face,
    identity: Float[Array, " k"],
    start: Motion,
    image: Float[Array, "t n 2"],
    pull: Pull,
    steps: int = 8,
) -> tuple[Motion, Float[Array, "t n"]]:
    """Fits pose and expression of each frame, identity given; also each landmark's error.

    Args:
        image: landmarks in units of the crop's side.
        steps: Gauss-Newton steps, always all of them.

    Source: DESIGN section 6; the paper uses FaceVerse's own fit, which is not published.
    """

    def one(motion: Motion, image, pull: Pull):
        cost = lambda motion, width: _cost(face, identity, motion, image, pull, width)

        def body(state, width):
            motion, damping = state
            (curvature, gradient), _, _ = _frame_system(
                face, identity, motion, image, pull, width, damping
            )
            tried = _moved(motion, bounded_step(curvature, gradient, motion.expression))
            better = cost(tried, width) < cost(motion, width)
            return accept(better, tried, motion, damping), None

        motion, _ = jax.lax.scan(body, (motion, jnp.float32(DAMPING)), _annealed(steps))[0]
        return motion, jnp.linalg.norm(project(face, identity, motion) - image, axis=-1)

    return jax.vmap(one)(start, image, pull)


@partial(jax.jit, static_argnames="steps")
def fit_identity(
    face: Face,
    start: Motion,
    image: Float[Array, "t n 2"],
    importance: Float[Array, " t"],
    steps: int = 15,
) -> tuple[Float[Array, " k"], Motion]:
    """Fits one identity together with every frame's pose and expression.

    Args:
        importance: weight of each frame; 0 leaves it out (padding).
    """

    pull = no_pull(start)

    def frame(identity, motion, image, pull, share, width, damping):
        """Eliminates a frame from the joint system, its active bounds held."""
        (curvature, gradient), cross, (matrix, slope) = _frame_system(
            face, identity, motion, image, pull, width, damping
        )
        step = bounded_step(curvature, gradient, motion.expression)
        moved = motion.expression + step[6:]
        free = jnp.concatenate((jnp.ones(6, bool), (moved > 0) & (moved < 1)))
        system = jnp.where(free[:, None] & free, curvature, 0.0) + jnp.diag((~free) * 1.0)
        free_cross = jnp.where(free[:, None], cross, 0.0)
        gain = solve(system, free_cross)
        return step, gain, share * (matrix - free_cross.T @ gain), share * (slope + cross.T @ step)

    def cost(identity, motion, width):
        each = jax.vmap(_cost, (None, None, 0, 0, 0, None))
        frames = each(face, identity, motion, image, pull, width)
        return (importance * frames).sum() + 0.5 * IDENTITY_RIDGE * jnp.square(identity).sum()

    def body(state, width):
        (identity, motion), damping = state
        step, gain, matrix, slope = jax.vmap(frame, (None, 0, 0, 0, 0, None, None))(
            identity, motion, image, pull, importance, width, damping
        )
        total = matrix.sum(0) + IDENTITY_RIDGE * jnp.eye(len(identity))
        total = total + damping * jnp.diag(jnp.diag(total))
        right = slope.sum(0) + IDENTITY_RIDGE * identity
        change = -solve(total, right[:, None])[:, 0]
        tried = (identity + change, jax.vmap(_moved)(motion, step - gain @ change))
        better = cost(*tried, width) < cost(identity, motion, width)
        return accept(better, tried, (identity, motion), damping), None

    identity = jnp.zeros(face.identity.shape[0])
    state = ((identity, start), jnp.float32(DAMPING))
    return jax.lax.scan(body, state, _annealed(steps))[0][0]
