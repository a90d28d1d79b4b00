"""Training examples: what a batch of rendered identities is to the networks."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from invertavatar_jax import frames
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.fit.morphable import HeadModel
from invertavatar_jax.settings import Model
from invertavatar_jax.types import Drive, Frame


class Target(NamedTuple):
    """Frames to be rendered; leading axes b, k."""

    drive: Drive
    image: Float[Array, "b k h w 3"]
    matte: Float[Array, "b k h w 1"]
    background: Float[Array, "b k h w 3"]
    head: Float[Array, "b k h w 1"]  # in {0, 1}: where the head's mesh is


class Example(NamedTuple):
    """A batch of the supervised stage."""

    sources: Frame  # leading axes b, t
    targets: Target


def make_preparer(head: HeadModel, model: Model) -> Callable[[Mapping[str, np.ndarray]], Example]:
    """The function that draws what the networks read of a batch of data.shards.pipeline."""
    geometry = frames.geometry(head, model)

    def tracked(batch: Mapping[str, np.ndarray], kind: str):
        """Frames of all identities, one axis, identity by identity."""
        count = batch[f"{kind}_image"].shape[1]
        flat = lambda name: batch[f"{kind}_{name}"].reshape(-1, *batch[f"{kind}_{name}"].shape[2:])
        identity = np.repeat(batch["identity"], count, 0)
        return flat, count, identity, from_vector(flat("camera"))

    def prepare(batch: Mapping[str, np.ndarray]) -> Example:
        flat, count, identity, camera = tracked(batch, "source")
        seen, _ = frames.make_frames(
            geometry,
            flat("image"),
            flat("matte"),
            identity,
            flat("expression"),
            flat("gaze_rad"),
            camera,
        )
        by_identity = lambda x, count: x.reshape(-1, count, *x.shape[1:])
        sources = jax.tree.map(lambda x: by_identity(x, count), seen)
        flat, count, identity, camera = tracked(batch, "target")
        drive = frames.make_drives(geometry, identity, flat("expression"), flat("gaze_rad"), camera)
        unit = lambda x: jnp.asarray(x, jnp.float32) / 127.5 - 1
        head_mask = drive.view[..., 2:]
        targets = Target(
            drive,
            unit(flat("image")),
            jnp.asarray(flat("matte"), jnp.float32)[..., None] / 255,
            unit(np.repeat(batch["background"], count, 0)),
            head_mask,
        )
        return Example(sources, jax.tree.map(lambda x: by_identity(x, count), targets))

    return prepare
