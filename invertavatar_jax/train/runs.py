"""Runs as others find them: their settings, and the weights of their checkpoints."""

import dataclasses
import pathlib

import jax

from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Weights
from invertavatar_jax.train import manifest
from invertavatar_jax.train.checkpoint import Checkpoints, Restored
from invertavatar_jax.train.config import MeshShape, Training, from_dict
from invertavatar_jax.train.loop import CHECKPOINTS, save_weights
from invertavatar_jax.train.program import Program


def settings_of(run: str | pathlib.Path, *, same_mesh: bool) -> Training:
    """A run's settings, as its last start had them.

    Args:
        same_mesh: on the mesh that it had, else on one device.

    Raises:
        UserError: the folder holds no run, or one of another version of the program.
    """
    starts = manifest.read_manifests(run)
    if not starts:
        raise UserError(f"{run} holds no {manifest.FILE}: give the folder of a run.")
    try:
        training = from_dict(starts[-1]["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run}: this version of the program does not know its settings ({error})."
        ) from error
    shape = MeshShape(**starts[-1]["mesh"]) if same_mesh else MeshShape(1, 1)
    if shape.data * shape.model > len(jax.devices()):
        if not training.deterministic:
            raise UserError(
                f"{run} was computed on {shape.data * shape.model} devices, and there are "
                f"{len(jax.devices())}: replay it on as many (on a CPU with XLA_FLAGS="
                "--xla_force_host_platform_device_count=N)."
            )
        shape = MeshShape(1, 1)
    return dataclasses.replace(training, mesh=shape)


def export_weights(
    run: str | pathlib.Path,
    out: pathlib.Path,
    *,
    step: int | None = None,
    weights: Weights | None = None,
) -> int:
    """Writes the weights of a checkpoint, on one device; the run may be going on.

    Args:
        step: of the checkpoint; None takes the newest that is whole.
        weights: that the run began with.

    Returns:
        The checkpoint's step.

    Raises:
        UserError: there is no such run or checkpoint, or no room on the disk.
    """
    training = settings_of(run, same_mesh=False)
    program = Program(training, weights)
    restored = restore(run, program, step)
    save_weights(out, training, program, restored.state)
    return int(restored.state.step)


def restore(run: str | pathlib.Path, program: Program, step: int | None = None) -> Restored:
    """A checkpoint of a run, whose folder is only read.

    Args:
        step: of the checkpoint; None takes the newest that is whole.

    Raises:
        UserError: there is none.
    """
    folder = pathlib.Path(run) / CHECKPOINTS
    if not folder.is_dir():
        raise UserError(f"{run} has no checkpoint yet.")
    with Checkpoints(folder, look_only=True) as checkpoints:
        if step is not None and step not in checkpoints.steps:
            there = ", ".join(map(str, checkpoints.steps)) or "none"
            raise UserError(f"{run} has no checkpoint of step {step}: it has {there}.")
        restored = checkpoints.restore(program.shapes, program.shardings, last=step)
    if restored is None:
        raise UserError(f"{run} has no checkpoint yet.")
    if step not in (None, int(restored.state.step)):
        raise UserError(f"{run}: the checkpoint of step {step} is damaged.")
    return restored
