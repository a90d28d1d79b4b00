"""The arguments of a model's steps as shapes: nothing is allocated, nothing is drawn."""

from typing import Any

import jax
import jax.numpy as jnp

from invertavatar_jax.avatar import Avatar, Steps
from invertavatar_jax.generator import Colours
from invertavatar_jax.inversion import Memory
from invertavatar_jax.settings import Model
from invertavatar_jax.train.config import Training
from invertavatar_jax.train.examples import Example, Target
from invertavatar_jax.types import Camera, Drive, Frame

Lead = tuple[Any, ...]  # leading axes; numbers, or symbols of jax.export


def _floats(*shape: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def drive(sizes: Model, lead: Lead) -> Drive:
    """A Drive of that model, as frames.make_drives makes it."""
    camera = Camera(_floats(*lead, 4, 4), _floats(*lead, 3, 3))
    raster = _floats(*lead, sizes.raster_resolution, sizes.raster_resolution, 3)
    if not sizes.departures.colours:
        return Drive(camera, raster)
    side = sizes.renderer.image_resolution
    return Drive(camera, raster, _floats(*lead, side, side, 4), _floats(*lead, side, side, 3))


def frame(sizes: Model, lead: Lead) -> Frame:
    """A Frame of that model, as frames.make_frames makes it."""
    side, texels = sizes.renderer.image_resolution, sizes.uv_resolution
    frontal = _floats(*lead, side, side, 2) if sizes.departures.frontal_input else None
    return Frame(
        image=_floats(*lead, side, side, 3),
        matte=_floats(*lead, side, side, 1),
        uv_rgb=_floats(*lead, texels, texels, 3),
        uv_xy=_floats(*lead, texels, texels, 2),
        uv_visible=_floats(*lead, texels, texels, 1),
        drive=drive(sizes, lead),
        frontal_xy=frontal,
    )


def memory(steps: Steps, weights: Any, sizes: Model, batch: Any) -> Memory:
    """The Memory after some frames."""
    return jax.eval_shape(steps.begin, weights, [frame(sizes, (batch,))], None)


def avatar(steps: Steps, weights: Any, sizes: Model, kept: Memory) -> Avatar:
    """The Avatar that such a memory gives; `identity`, which no network reads, is left out."""
    maps = jax.eval_shape(steps.finish, weights, kept)
    side = sizes.renderer.image_resolution
    batch = kept.w_plus.shape[0]
    background = _floats(batch, side, side, 3) if sizes.departures.background else None
    colours = None if kept.colours is None else Colours(*kept.colours)
    return Avatar(kept.w_plus, maps, colours, background, None)


def training_batch(training: Training, sizes: Model) -> Any:
    """A batch of a training run, as train.feeds places it."""
    if training.stage == "supervised":
        own = training.settings
        return _example(sizes, training.batch_size, own.sources, own.targets)
    lead, side = (training.batch_size, training.frames), sizes.renderer.image_resolution
    texels, raster = sizes.uv_resolution, sizes.raster_resolution
    bytes_ = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.uint8)
    numbers = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
    shapes = {
        "image": bytes_(*lead, side, side, 3),
        "matte": bytes_(*lead, side, side, 1),
        "uv_rgb": bytes_(*lead, texels, texels, 3),
        "uv_xy": _floats(*lead, texels, texels, 2),
        "uv_visible": _floats(*lead, texels, texels, 1),
        "raster": _floats(*lead, raster, raster, 3),
        "camera": _floats(*lead, 25),
        "landmarks": bytes_(*lead, side, side, 3),
        "clip": numbers(*lead),
        "frame": numbers(*lead),
    }
    of_other = ("camera", "raster", "landmarks")
    other = {
        f"other_{name}": jax.ShapeDtypeStruct(
            (lead[0], *shapes[name].shape[2:]), shapes[name].dtype
        )
        for name in of_other
    }
    return shapes | other


def _example(sizes: Model, identities: int, sources: int, targets: int) -> Example:
    lead, side = (identities, targets), sizes.renderer.image_resolution
    picture = lambda channels: _floats(*lead, side, side, channels)
    target = Target(drive(sizes, lead), picture(3), picture(1), picture(3), picture(1))
    return Example(frame(sizes, (identities, sources)), target)
