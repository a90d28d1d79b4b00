"""Avatars seen from the sides, and the surface that their density has."""

import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.evaluation.score import Task
from experiments.evaluation.systems import Bench, ours
from invertavatar_jax import motion, networks
from invertavatar_jax.avatar import Avatar, render_driven
from invertavatar_jax.export import picture
from invertavatar_jax.export.picture import to_uint8
from invertavatar_jax.render.rays import cast_rays
from invertavatar_jax.types import Camera, Drive

YAWS_RAD = (-0.6, -0.3, 0.3, 0.6)  # the paper shows sides and gives no angles
ROWS = 4
LABELS = (
    "source",
    "driver",
    "avatar",
    *(f"{np.degrees(yaw):+.0f} degrees" for yaw in YAWS_RAD),
    "geometry",
    *(f"{np.degrees(yaw):+.0f} degrees" for yaw in YAWS_RAD),
)


def write(path: pathlib.Path, bench: Bench, todo: Sequence[Task]) -> None:
    """Writes a row for each of the first avatars: as driven, from the sides, as a surface."""
    draw = _make_draw(bench)
    rows = []
    for task in todo[:ROWS]:
        trial = task.trial
        avatar = ours(bench).reconstruct([task.person.frames[i] for i in trial.sources])
        one = task.driver.frames[trial.frames[0]]
        around = motion.orbit(one.camera, YAWS_RAD, np.zeros(len(YAWS_RAD)))
        cameras = [one.camera, *(Camera(*(x[i] for x in around)) for i in range(len(YAWS_RAD)))]
        moments = [one._replace(camera=camera) for camera in cameras]
        images, surfaces = draw(avatar, bench.prepared.drive(avatar.identity, moments))
        known = task.person.truth[trial.sources[0]], task.driver.truth[trial.frames[0]]
        rows.append([to_uint8(x) for x in (*known, *images, *surfaces)])
    picture.write_png(path, picture.contact_sheet(rows, LABELS))


def shade(
    points: Float[Array, "b n n 3"], seen_from: Float[Array, "b 3"], alpha: Float[Array, "b n n 1"]
) -> Float[Array, "b n n 3"]:
    """A surface under a lamp at the camera, in [-1, 1], over white.

    Args:
        points: of the surface, one a pixel, in world units.
        seen_from: the cameras' centres.
        alpha: where it is, in [0, 1].
    """
    across = jnp.diff(points, axis=2, append=points[:, :, -2:-1])
    down = jnp.diff(points, axis=1, append=points[:, -2:-1])
    normal = jnp.cross(across, down)
    towards = seen_from[:, None, None] - points
    unit = lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    lit = jnp.abs((unit(normal) * unit(towards)).sum(-1, keepdims=True))
    return jnp.broadcast_to(2 * (lit * alpha + 1 - alpha) - 1, points.shape)


def _make_draw(bench: Bench):
    """Avatar and drives -> images and surfaces; compiled."""
    sizes = bench.model.sizes
    nets, side = networks.build(sizes), sizes.renderer.ray_resolution

    @jax.jit
    def draw(weights, avatar: Avatar, drives: Drive) -> tuple[Array, Array]:
        out = render_driven(nets, weights, sizes, avatar, drives)
        cast = cast_rays(drives.camera, side)
        reach = out.depth.reshape(len(out.depth), -1, 1)
        points = (cast.origins + reach * cast.directions).reshape(-1, side, side, 3)
        centre = drives.camera.world_from_camera[:, :3, 3]
        return jnp.clip(out.image, -1, 1), shade(points, centre, out.alpha)

    return lambda avatar, drives: draw(bench.without_unets, avatar, drives)
