"""What is compiled ahead of time: programs by name, with the shapes of their arguments."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from invertavatar_jax import avatar, networks
from invertavatar_jax.compile import abstract
from invertavatar_jax.compile.targets import AXIS
from invertavatar_jax.errors import UserError
from invertavatar_jax.settings import Model
from invertavatar_jax.train import program as training_program
from invertavatar_jax.train.config import MeshShape, Training
from invertavatar_jax.train.critics import RANDOM
from invertavatar_jax.train.step import batch_sharding


class Program(NamedTuple):
    """A jitted function, and arguments for it that have shapes and shardings only."""

    name: str
    jitted: Any
    arguments: tuple
    does: str  # what one call of it makes, in words
    compute: str = "float32"  # its products: of settings.COMPUTE
    held_bytes: int = 0  # on every device meanwhile, arguments that it reads included


class Request(NamedTuple):
    """What programs are made for."""

    sizes: Model
    training: Training | None = None  # a run's settings; programs of training need them
    compute: str = "float32"  # of settings.COMPUTE; training has its own


Maker = Callable[[Request, Mesh], Iterator[Program]]


def reconstruct(request: Request, mesh: Mesh) -> Iterator[Program]:
    """begin, fold and finish: one avatar per device, one frame of each per call."""
    sizes = request.sizes
    steps, weights = avatar.make_steps(sizes, compute=request.compute), _weights(sizes)
    spread = functools.partial(_spread, mesh, request.compute)
    frame = lambda batch: [abstract.frame(sizes, (batch,))]
    kept = lambda batch: abstract.memory(steps, weights, sizes, batch)
    begin = lambda weights, chunk: steps.begin(weights, chunk, None)
    yield spread("begin", begin, weights, (frame,), "first frames -> memories")
    if not sizes.one_shot:
        fold = lambda weights, memory, chunk: steps.fold(weights, memory, chunk, None)
        yield spread("fold", fold, weights, (kept, frame), "one more frame each", used_up=(1,))
    yield spread("finish", steps.finish, weights, (kept,), "memories -> avatars")


def animate(request: Request, mesh: Mesh) -> Iterator[Program]:
    """draw: one image per device and call."""
    sizes = request.sizes
    steps, weights = avatar.make_steps(sizes, compute=request.compute), _weights(sizes)
    made = lambda batch: abstract.avatar(
        steps, weights, sizes, abstract.memory(steps, weights, sizes, batch)
    )
    drive = lambda batch: abstract.drive(sizes, (batch,))
    draw = lambda weights, avatar, drive: steps.draw(weights, avatar, drive, None)
    yield _spread(mesh, request.compute, "draw", draw, weights, (made, drive), "one image each")


def train(request: Request, mesh: Mesh) -> Iterator[Program]:
    """The gradients of a stage's phases and its optimizers' steps, at their last variant.

    Raises:
        UserError: the request has no training settings.
    """
    training = request.training
    if training is None:
        raise UserError("--programs train needs --config FILE[:VARIANT] of a training run.")
    each = training.microbatch * (mesh.size // training.mesh.model)
    batch = -(-training.batch_size // each) * each  # as many for every device
    training = dataclasses.replace(
        _with_critics(training),
        batch_size=batch,
        deterministic=False,
        mesh=MeshShape(-1, training.mesh.model),
    )
    made = training_program.Program(training, devices=list(mesh.devices.flat))
    state, key = made.shapes, jax.eval_shape(jax.random.key, 0)
    samples = abstract.training_batch(training, request.sizes)
    seen = set()
    for phase in made.stage.phases(made.stage.variant(training.total_steps)):
        step = made.step(phase, made.stage.variant(training.total_steps))
        name = f"{training.stage} {phase.name}"
        held = _bytes(state, made.shardings) + _bytes(samples, batch_sharding(made.placing))
        inputs = state, samples, key
        does, products = f"gradients of {batch}", training.products
        yield Program(name, step.differentiate, inputs, does, products, held)
        if phase.group not in seen:
            seen.add(phase.group)
            sums = jax.eval_shape(step.differentiate, state, samples, key)[0]
            inputs = step.moving(state, sums), sums
            held += _bytes(sums.gradient, made.shardings.params[phase.group])
            does = f"one step of {phase.group}"
            yield Program(f"{name} update", step.update, inputs, does, held_bytes=held)


def _with_critics(training: Training) -> Training:
    """The settings with drawn critics, where they name no files: shapes are all that counts."""
    critics = getattr(training.settings, "critics", None)
    if critics is None:
        return training
    files = critics.perceptual_files or (RANDOM,)
    drawn = dataclasses.replace(
        critics, perceptual_files=files, identity_file=critics.identity_file or RANDOM
    )
    own = dataclasses.replace(training.settings, critics=drawn)
    return dataclasses.replace(training, settings=own)


def _bytes(tree: Any, shardings: Any) -> int:
    """What a tree of shapes takes on one device.

    Args:
        shardings: of every leaf, or one for all.
    """
    leaves = jax.tree.leaves(tree)
    placed = jax.tree.leaves(shardings)
    placed = placed * len(leaves) if len(placed) == 1 else placed
    shapes = [at.shard_shape(x.shape) for x, at in zip(leaves, placed, strict=True)]
    return sum(math.prod(one) * x.dtype.itemsize for one, x in zip(shapes, leaves, strict=True))


@functools.cache
def _weights(sizes: Model) -> Any:
    """Shapes; every program asks for them, and tracing the initialisers takes seconds."""
    return networks.shapes(sizes)


PROGRAMS: dict[str, Maker] = {"reconstruct": reconstruct, "animate": animate, "train": train}


def choose(names: Sequence[str]) -> list[Maker]:
    """The makers of those names, in that order.

    Raises:
        UserError: one is unknown.
    """
    if unknown := [name for name in names if name not in PROGRAMS]:
        known = ", ".join(PROGRAMS)
        raise UserError(f"--programs {unknown[0]}: expected some of {known}, with commas.")
    return [PROGRAMS[name] for name in names]


def parameters(sizes: Model) -> int:
    """Numbers that a model has, trained ones and constants."""
    return sum(x.size for x in jax.tree.leaves(_weights(sizes)))


def _spread(
    mesh: Mesh,
    compute: str,
    name: str,
    step: Callable[..., Any],
    weights: Any,
    made: tuple[Callable[[int], Any], ...],
    does: str,
    used_up: tuple[int, ...] = (),
) -> Program:
    """Gives every device of a mesh its own avatars; all have the weights.

    Args:
        compute: as of Program.
        step: weights, inputs -> output, for any batch.
        made: batch -> shapes of an input.
        used_up: numbers of the arguments that the call donates.
    """
    pair = (1, max(mesh.size, 2))  # two sizes of a batch
    specs = [_batch_axes(*map(one, pair)) for one in made]
    outputs = [jax.eval_shape(step, weights, *(one(n) for one in made)) for n in pair]
    everywhere = jax.tree.map(lambda _: P(), weights)
    # Shard by shard and not by the compiler's choice: sampling joins the planes of a batch
    # to one table, of which a device would else have to fetch the others' rows.
    local = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(everywhere, *specs),
        out_specs=_batch_axes(*outputs),
        check_vma=False,
    )
    place = lambda x, spec: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=NamedSharding(mesh, spec)
    )
    inputs = (weights, *(one(mesh.size) for one in made))
    arguments = jax.tree.map(place, inputs, (everywhere, *specs))
    return Program(name, jax.jit(local, donate_argnums=used_up), arguments, does, compute)


def _batch_axes(small: Any, large: Any) -> Any:
    """Where the batch is in each leaf, found by comparing the shapes for two sizes of it."""

    def axis(a, b):
        return P(*(AXIS if m != n else None for m, n in zip(a.shape, b.shape, strict=True)))

    return jax.tree.map(axis, small, large)
