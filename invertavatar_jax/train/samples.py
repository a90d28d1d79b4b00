"""Host batches of data.training as what networks read: frames, and what drives a generator."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.types import Drive, Frame

Batch = Mapping[str, Array]  # leading axes b, t; see data.training


def picture(values: Array) -> Float[Array, "..."]:
    """uint8 -> [-1, 1]."""
    return values.astype(jnp.float32) / 127.5 - 1.0


def photos(batch: Batch) -> Batch:
    """A batch of clips of one frame without the axis t."""
    alone = lambda name, x: x if name.startswith("other_") else x[:, 0]
    return {name: alone(name, x) for name, x in batch.items()}


def drives(batch: Batch, prefix: str = "") -> Drive:
    """Camera and raster of a batch's frames; those of another random frame with "other_"."""
    return Drive(from_vector(batch[f"{prefix}camera"]), batch[f"{prefix}raster"])


def frames(batch: Batch) -> Frame:
    """A batch's frames, leading axes b, t; the matte is 1 on head and hair."""
    head = (batch["matte"] > 127).astype(jnp.float32)
    return Frame(
        image=picture(batch["image"]),
        matte=head,
        uv_rgb=picture(batch["uv_rgb"]),
        uv_xy=batch["uv_xy"],
        uv_visible=batch["uv_visible"],
        drive=drives(batch),
    )
