"""What is compiled ahead of time: programs by name, with the shapes of their arguments."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from invertavatar_jax import avatar, networks
from invertavatar_jax.compile import abstract
from invertavatar_jax.compile.targets import AXIS
from invertavatar_jax.errors import UserError
from invertavatar_jax.settings import Model
from invertavatar_jax.train.config import Training
from invertavatar_jax.train.examples import Example
from invertavatar_jax.train.loop import make_loss
from invertavatar_jax.train.state import make_state
from invertavatar_jax.train.step import make_optimizer, make_train_step


class Program(NamedTuple):
    """A jitted function, and arguments for it that have shapes and shardings only."""

    name: str
    jitted: Any
    arguments: tuple
    does: str  # what one call of it makes, in words
    compute: str = "default"  # its products: of settings.COMPUTE, or what JAX does unasked


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
    """One optimisation step: the batch is spread over the devices, all have the state.

    Raises:
        UserError: the request has no training settings, or its preset has no such stage.
    """
    if request.training is None:
        raise UserError("--programs train needs --config FILE[:VARIANT] of a training run.")
    if not request.sizes.departures.colours:
        raise UserError(
            "--programs train: the supervised stage compares an alpha that the preset "
            f"{request.training.preset} does not render; expected small or tiny."
        )
    training = request.training
    batch = -(-training.batch_size // mesh.size) * mesh.size  # as many for each
    optimizer = make_optimizer(
        training.rate, training.total_steps, training.warmup_steps, training.clip
    )
    step = make_train_step(make_loss(training), optimizer, training.average_decay)
    state = jax.eval_shape(lambda: make_state(_zeros(_weights(request.sizes)), optimizer))
    example = abstract.example(request.sizes, training.sources, batch, training.targets)
    specs = (P(), Example(P(None, AXIS), P(AXIS)), P())
    shardings = tuple(
        jax.tree.map(
            lambda spec: NamedSharding(mesh, spec), one, is_leaf=lambda x: isinstance(x, P)
        )
        for one in specs
    )
    jitted = jax.jit(
        step,
        in_shardings=shardings,
        out_shardings=NamedSharding(mesh, P()),
        donate_argnums=0,
    )
    key = jax.eval_shape(jax.random.key, 0)
    does = f"a step on {batch} people"
    yield Program("train", jitted, (state, example, key), does)


@functools.cache
def _weights(sizes: Model) -> Any:
    """Shapes; every program asks for them, and tracing the initialisers takes seconds."""
    return networks.shapes(sizes)


def _zeros(shapes: Any) -> Any:
    """Arrays of those shapes, for jax.eval_shape: nothing is allocated inside it."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


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
