"""The steps of a model as files that JAX runs on a CPU, a GPU or a TPU, without this package.

A program takes and gives dictionaries of arrays. Their names are those of the weights' and
avatars' files, e.g. "params.encoder.styles.0.bias" and "maps.textures.0".
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export
from jaxtyping import Array

from invertavatar_jax import avatar, networks
from invertavatar_jax.compile import abstract
from invertavatar_jax.errors import UserError
from invertavatar_jax.settings import Model

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".jaxexport"


def names(sizes: Model) -> tuple[str, ...]:
    """The steps that a model has."""
    return ("begin", "finish", "draw") if sizes.one_shot else ("begin", "fold", "finish", "draw")


def export_steps(
    sizes: Model,
    platforms: Sequence[str] = PLATFORMS,
    which: Sequence[str] | None = None,
) -> dict[str, export.Exported]:
    """The steps by name, all or those named, each lowered for all the platforms.

    begin: weights, first frame -> memory. fold: weights, memory, t more frames -> memory; t is
    free; a one-shot model has none. finish: weights, memory -> maps of the avatar. draw:
    weights, avatar, b drives -> b images in about [-1, 1]; b is free. Frames, memory and avatar
    have the batch axis 1.
    """
    steps = _steps(sizes)
    return {name: _export(*steps[name], platforms) for name in which or steps}


def flatten(tree: Any) -> dict[str, Any]:
    """A tree's leaves by dotted name, as the programs take and give them."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(map(_entry_name, path)): leaf for path, leaf in leaves}


def write(folder: Path, programs: dict[str, export.Exported]) -> list[Path]:
    """Writes NAME.jaxexport files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, program in programs.items():
        paths.append(folder / f"{name}{SUFFIX}")
        paths[-1].write_bytes(program.serialize())
    return paths


def read(path: Path) -> export.Exported:
    """Reads what `write` wrote; `.call(weights, ...)` runs it.

    Raises:
        UserError: there is no such file, or it is no exported program.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; make it with `./avatar export`.")
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # flatbuffers raises whatever the bytes lead it to
        raise UserError(
            f"{path} is no exported program; make it with `./avatar export`."
        ) from error


def _steps(sizes: Model) -> dict[str, tuple[Callable[..., Any], tuple]]:
    """Each step, as export_steps says, with the shapes of its arguments."""
    steps, weights = avatar.make_steps(sizes), networks.shapes(sizes)
    memory = abstract.memory(steps, weights, sizes, 1)
    made = abstract.avatar(steps, weights, sizes, memory)
    b, t = export.symbolic_shape("b")[0], export.symbolic_shape("t")[0]

    def begin(weights, frame):
        return steps.begin(weights, [frame], None)

    def fold(weights, memory, frames):
        add = lambda memory, frame: (steps.fold(weights, memory, [frame], None), None)
        return jax.lax.scan(add, memory, frames)[0]

    def draw(weights, made, drives):
        one = lambda drive: steps.draw(weights, made, jax.tree.map(lambda x: x[None], drive), None)
        return {"image": jax.vmap(lambda drive: one(drive)[0])(drives)}

    every = {
        "begin": (begin, (weights, abstract.frame(sizes, (1,)))),
        "fold": (fold, (weights, memory, abstract.frame(sizes, (t, 1)))),
        "finish": (steps.finish, (weights, memory)),
        "draw": (draw, (weights, made, abstract.drive(sizes, (b,)))),
    }
    return {name: every[name] for name in names(sizes)}


def _export(step: Callable[..., Any], arguments: tuple, platforms: Sequence[str]):
    structures = [jax.tree.structure(one) for one in arguments]
    orders = [list(flatten(one)) for one in arguments]

    def named(*inputs: dict[str, Array]) -> dict[str, Array]:
        trees = [
            jax.tree.unflatten(structure, [one[name] for name in order])
            for structure, order, one in zip(structures, orders, inputs, strict=True)
        ]
        return flatten(step(*trees))

    shapes = [flatten(one) for one in arguments]
    return export.export(jax.jit(named), platforms=platforms)(*shapes)


def _entry_name(entry: Any) -> str:
    for field in ("key", "name", "idx"):
        if hasattr(entry, field):
            return str(getattr(entry, field))
    raise ValueError(f"got the path entry {entry!r}, expected a key, a name or an index")
