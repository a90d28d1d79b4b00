"""What gives the same bits, and how far the rest goes apart: avatars, and a step of training.

Run: ./avatar python -m experiments.determinism.promises --out R.json  (--preset tiny: a minute)

An avatar of four frames of a rendered person is made and driven in processes that differ in one
thing each; a step of the supervised stage is made of four people.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.determinism import child
from invertavatar_jax.export import files
from invertavatar_jax.train import manifest

SOURCES, DRIVEN, BATCH = 4, 4, 4
PIXELS = {"small": 256, "tiny": 64}  # of the rendered people
STAGE, STAGE_PIXELS = "configs/supervised.py:tiny", 32


class Way(NamedTuple):
    """How an avatar is made and driven."""

    name: str
    environment: tuple[tuple[str, str], ...] = ()
    compute: str = "float32"
    at_once: int = DRIVEN  # images drawn by one call
    seed: int | None = None  # of the released randomness


class Step(NamedTuple):
    """How a step of training is made."""

    name: str
    environment: tuple[tuple[str, str], ...] = ()
    seed: int = 0


AGAIN = "in another process"
THREADS = "NPROC"  # of XLA's pool; two, whatever the machine has, unless a way says otherwise
COMPILED = (("JAX_ENABLE_COMPILATION_CACHE", "false"),)
ONE = ((THREADS, "1"),)
EIGHT = ("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
# the first one is what the others are compared with
AVATARS = (
    Way("as it is"),
    Way(AGAIN),
    Way("compiled again", COMPILED),
    Way("where there are eight devices", (EIGHT,)),
    Way("one thread, not two", ONE),
    Way("images one by one, not four at once", at_once=1),
    Way("tensorfloat32, on a CPU", compute="tensorfloat32"),
    Way("bfloat16 networks", compute="bfloat16"),
)
RANDOM = (Way("a key", seed=0), Way(f"the same key, {AGAIN}", seed=0), Way("another key", seed=1))
STEPS = (
    Step("as it is"),
    Step(AGAIN),
    Step("compiled again", COMPILED),
    Step("one thread, not two", ONE),
    Step("another seed", seed=1),
)


def main() -> None:
    """Reads the command line, compares, and writes the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="result file (JSON)")
    parser.add_argument("--preset", choices=PIXELS, default="small", help="tiny: random weights")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(args.preset, pathlib.Path(folder))
    given = {"preset": args.preset, "stage": STAGE}
    made = manifest.make_manifest(
        given, data_fingerprint="rendered people", mesh_shape={}, seeds={"all": 0}
    )
    files.write_text(args.out, json.dumps({"manifest": made, "rows": rows}, indent=1) + "\n")


def compare(
    preset: str,
    folder: pathlib.Path,
    groups: Sequence[Sequence[Way | Step]] = (AVATARS, RANDOM, STEPS),
) -> list[dict[str, Any]]:
    """A row for every way and every kind of number, but the first way of each group.

    `most` is the largest difference, in parts of the largest number there is.
    """
    for pixels in {PIXELS[preset], STAGE_PIXELS}:
        _ask(render, str(folder / f"people_{pixels}"), pixels)
    rows = []
    for ways in groups:
        made: list[dict[str, np.ndarray]] = []
        for way in tqdm(ways, desc=type(ways[0]).__name__):
            avatars = isinstance(way, Way)
            work = functools.partial(avatar, preset) if avatars else step
            drawn = folder / f"people_{PIXELS[preset] if avatars else STAGE_PIXELS}"
            path = folder / f"{len(rows)}_{len(made)}.npz"
            _ask(work, str(drawn), str(path), way, environment=way.environment)
            with np.load(path) as found:
                made.append(dict(found))
        for way, found in zip(ways[1:], made[1:], strict=True):
            for what, values in found.items():
                first = made[0][what].astype(np.float64)
                apart, largest = np.abs(values.astype(np.float64) - first), np.abs(first).max()
                rows.append(
                    {
                        "what": what,
                        "way": way.name,
                        "beside": ways[0].name,
                        "equal": values.tobytes() == made[0][what].tobytes(),
                        "differing": float((apart > 0).mean()),
                        "most": float(apart.max() / largest),
                    }
                )
    return rows


def render(folder: str, pixels: int) -> None:
    """Draws the people, each with as many frames as are needed."""
    from experiments.evaluation import people

    people.rendered(pathlib.Path(folder), BATCH, SOURCES + DRIVEN, pixels, pixels)


def avatar(preset: str, folder: str, out: str, way: Way) -> None:
    """Writes an avatar's canonical features, and its images."""
    import jax

    from experiments.evaluation import footage, systems
    from experiments.evaluation.line_up import Workshop
    from invertavatar_jax.avatar import Model

    opened = Workshop(preset).model(None)
    model = Model(opened.sizes, opened.weights, opened.head, compute=way.compute)
    prepared = systems.Preparation(model.head, model.sizes)
    clip = footage.synthetic(pathlib.Path(folder), model.sizes.renderer.image_resolution)[0]
    key = None if way.seed is None else jax.random.key(way.seed)
    made = model.reconstruct(prepared.frames(clip.frames[:SOURCES]), key=key)
    images = []
    for begin in range(SOURCES, SOURCES + DRIVEN, way.at_once):
        drives = prepared.drive(made.identity, clip.frames[begin : begin + way.at_once])
        images.append(np.asarray(model.draw(made, drives, key=key)))
    features = np.concatenate([np.ravel(x) for x in jax.tree.leaves(made.maps)])
    np.savez(out, features=features, images=np.concatenate(images))


def step(folder: str, out: str, way: Step) -> None:
    """Writes all parameters as they are after a step of STAGE from random weights."""
    import jax

    from invertavatar_jax.cli.train import read_config
    from invertavatar_jax.train import feeds
    from invertavatar_jax.train.program import Program
    from invertavatar_jax.train.step import batch_sharding

    training = dataclasses.replace(
        read_config(STAGE, way.seed), data=folder, held_out=0, batch_size=BATCH, microbatch=BATCH
    )
    program = Program(training)
    batches = feeds.open_feed(training).batches
    drawn = [feeds.place(next(batches), batch_sharding(program.placing))]
    state, _ = program.iterate(program.begin(), drawn, jax.random.key(way.seed), 0)
    leaves = jax.tree.leaves(jax.device_get(state.params))
    np.savez(out, parameters=np.concatenate([np.ravel(x) for x in leaves]))


def _ask(work: Any, *args: Any, environment: tuple[tuple[str, str], ...] = ()) -> None:
    ended = child.Child(work, *args, environment={THREADS: "2", **dict(environment)}).join()
    if ended.code:
        raise RuntimeError(ended.output)


if __name__ == "__main__":
    main()
