"""A training run's settings: from a ConfigDict of configs/ to frozen dataclasses."""

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from invertavatar_jax import settings
from invertavatar_jax.train.stages import STAGES
from invertavatar_jax.train.stages.batching import Batching

PACKAGE = "invertavatar_jax.train.stages"
PRODUCTS = ("float32", "tensorfloat32")  # of settings.COMPUTE; a CPU never shortens them


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """Devices along each axis; -1 takes all that are left."""

    data: int
    model: int


@dataclasses.dataclass(frozen=True)
class Training:
    """One run."""

    stage: str  # see stage_module
    preset: str
    data: str  # folder of the training data
    held_out: int  # clips or people at the end that are measured on, never trained on
    weights: str  # file to begin with; "" begins with random ones
    batch_size: int
    microbatch: int  # samples that see each other; see train.stage
    frames: int  # of a clip in an example
    total_steps: int
    seed: int
    deterministic: bool  # the same bits on any number of devices
    products: str  # numbers that float32 matrices are multiplied with: one of PRODUCTS
    mesh: MeshShape
    sharding: tuple  # rules of train.mesh
    log_every: int
    validate_every: int
    image_every: int  # 0 makes no pictures
    checkpoint_every: int
    keep: int  # newest checkpoints that are kept, beside the best
    settings: Any  # of the stage

    @property
    def batching(self) -> Batching:
        """Samples of a batch and of its parts."""
        return Batching(self.batch_size, self.microbatch)


def stage_module(name: str) -> Any:
    """The module of a stage: `Settings`, and `make` of model, settings and batching.

    Args:
        name: one of train.stages.STAGES, or the dotted path of a module of one's own, which
            has `open_feed` too, of a Training.

    Raises:
        ValueError: there is no such stage.
    """
    if "." in name:
        return importlib.import_module(name)
    if name not in STAGES:
        raise ValueError(f"got stage {name!r}, expected one of {', '.join(STAGES)}")
    return importlib.import_module(f"{PACKAGE}.{name}")


def parse(config: ConfigDict) -> Training:
    """As from_dict, of a configuration."""
    return from_dict(config.to_dict())


def from_dict(values: Mapping[str, Any]) -> Training:
    """A run's settings of plain values, as to_dict gives them or JSON has kept them.

    Raises:
        ValueError: on an unknown or a missing key, a stage, a preset or a kind of products
            that does not exist, or a batch that microbatches do not divide.
    """
    known = stage_module(str(values.get("stage"))).Settings
    training = fill(Training, {**values, "settings": fill(known, values.get("settings", {}))})
    settings.preset(training.preset)
    if training.products not in PRODUCTS:
        known = ", ".join(PRODUCTS)
        raise ValueError(f"products: got {training.products!r}, expected one of {known}")
    if training.batch_size % training.microbatch:
        raise ValueError(
            f"batch_size: got {training.batch_size}, expected a multiple of the microbatch of "
            f"{training.microbatch}"
        )
    return training


def fill(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass of values by name, and the dataclasses in it.

    Raises:
        ValueError: names are unknown or missing.
    """
    fields = typing.get_type_hints(kind)
    if wrong := sorted(set(fields) ^ set(values)):
        raise ValueError(f"settings unknown or missing: {', '.join(wrong)}")
    made = {}
    for name, value in values.items():
        inner = dataclasses.is_dataclass(fields[name]) and isinstance(value, Mapping)
        made[name] = fill(fields[name], value) if inner else _frozen(value)
    return kind(**made)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def to_dict(training: Training) -> dict[str, Any]:
    """Plain values of a run's settings."""
    return dataclasses.asdict(training)
