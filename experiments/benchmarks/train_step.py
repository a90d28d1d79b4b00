"""How long a step of training takes: beside PyTorch, and with more photos, frames and devices.

python -m experiments.benchmarks.train_step --out R.json

The step that both sides make: E_latent of photos, the generator, volume rendering and
super-resolution, the mean absolute difference from the photos, its gradient, and Adam. Ours
goes through the trainer's own code. Weights, photos and rays are the same, and so are losses
and gradients, or the benchmark stops. The peer is in train_step_twin.py.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import jax

from configs import fewshot as fewshot_config
from experiments.benchmarks import measure, pipeline
from experiments.benchmarks.train_step_ours import ADAM, Trainer, make_batch, reconstruction
from experiments.long_sequences.streaming import count_compilations
from invertavatar_jax import avatar, settings
from invertavatar_jax.train import config, samples
from invertavatar_jax.train.stages import fewshot
from invertavatar_jax.train.stages.batching import Batching

MODULE = "experiments.benchmarks.train_step"
SIDES = ("ours", "torch")
PHOTOS = 2  # of a batch beside the peer
MORE = 3  # steps after the first, which must compile nothing
QUICK = {  # compilation, where times do not matter
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
LOSS_TOLERANCE, NORM_TOLERANCE = 1e-4, 1e-3  # relative
Rows = list[dict[str, Any]]


def small_paper() -> settings.Model:
    """The small sizes in the paper's form, without departures, which the peer lacks."""
    small = settings.preset("small")
    whole = lambda trunk: dataclasses.replace(trunk, patch=1)
    return dataclasses.replace(
        small,
        renderer=dataclasses.replace(small.renderer, superresolution_fold=0, proposal=False),
        latent_trunk=whole(small.latent_trunk),
        texture_trunk=whole(small.texture_trunk),
        triplane_trunk=whole(small.triplane_trunk),
        departures=settings.Departures(),
    )


def sizes_of(args: argparse.Namespace) -> tuple[str, settings.Model]:
    """What is compared with the peer: its name and its sizes."""
    if args.smoke:
        return "tiny sizes", settings.preset("tiny_paper")
    return "small sizes", small_paper()


def our_calls(sizes: settings.Model, out: pathlib.Path) -> dict[str, Callable[[], Any]]:
    """What our side does when asked; see `against_torch`."""
    weights, compiled = pipeline.random_weights(sizes), count_compilations()
    trainer = Trainer(reconstruction(sizes), weights, make_batch(sizes, PHOTOS, 1))

    def note() -> None:
        _, metrics = trainer.step()
        kept = {name: float(metrics[f"photos/{name}"]) for name in ("loss", "grad_norm")}
        out.write_text(json.dumps(kept))

    def more() -> None:
        before = len(compiled)
        for _ in range(MORE):
            jax.block_until_ready(trainer.step())
        out.write_text(json.dumps({"compiled_by_more_steps": len(compiled) - before}))

    return {"note": note, "more": more, "step": trainer.step}


def their_calls(sizes: settings.Model, out: pathlib.Path) -> dict[str, Callable[[], Any]]:
    """The same with the same weights by PyTorch."""
    from experiments.benchmarks import train_step_twin

    weights = pipeline.random_weights(sizes)
    photos = samples.frames(samples.photos(make_batch(sizes, PHOTOS, 1)))
    lesson = train_step_twin.Lesson(avatar.Model(sizes, weights), weights, photos, ADAM)

    def note() -> None:
        loss, norm = lesson.step()
        out.write_text(json.dumps({"loss": float(loss), "grad_norm": float(norm)}))

    return {"note": note, "step": lesson.step}


def against_torch(args: argparse.Namespace, allocator: str) -> Rows:
    """A step beside the peer's, each side in a process of its own.

    Args:
        allocator: of measure.ENVIRONMENTS, for both sides.

    Raises:
        ValueError: the sides do not compute the same, or later steps compile.
    """
    environment = measure.allocator(allocator)
    with tempfile.TemporaryDirectory() as folder:
        paths = {side: pathlib.Path(folder, f"{side}.json") for side in SIDES}
        options = ["--smoke"] * args.smoke
        workers = {
            side: measure.Worker(
                MODULE, "--serve", side, "--facts", str(path), *options, environment=environment
            )
            for side, path in paths.items()
        }
        facts = _agreement(workers, paths)
        workers["ours"].ask("more")
        facts |= json.loads(paths["ours"].read_text())
        if facts["compiled_by_more_steps"]:
            raise ValueError(f"{MORE} more steps compiled {facts['compiled_by_more_steps']} times")
        timings = measure.alternate(workers, "step", args.rounds)
        peak = {side: worker.ask("step")["rss_mib"] for side, worker in workers.items()}
        for worker in workers.values():
            worker.close()
    pair = {"ours": timings["ours"], "torch float32": timings["torch"]}
    facts |= {"photos": PHOTOS, "peer_peak_mib": peak["torch"]}
    name = f"{sizes_of(args)[0]}, {allocator}: a step of E_latent"
    return measure.rows_of(name, pair, peak["ours"], **facts)


def _agreement(workers: dict[str, measure.Worker], paths: dict[str, pathlib.Path]) -> dict:
    """Relative differences of the first step's loss and gradient, and of the loss after it."""
    facts: dict[str, float] = {}
    for when in ("first", "second"):
        for worker in workers.values():
            worker.ask("note")
        ours, theirs = (json.loads(path.read_text()) for path in paths.values())
        for name, value in theirs.items():
            facts[f"{when}_{name}_off_by"] = abs(ours[name] - value) / abs(value)
    limits = {"loss": LOSS_TOLERANCE, "grad_norm": NORM_TOLERANCE}
    for name, limit in limits.items():
        if not facts[f"first_{name}_off_by"] <= limit:
            raise ValueError(f"{name}: the sides differ by {facts}, expected at most {limit}")
    return facts


def by_photos(args: argparse.Namespace) -> Iterator[Rows]:
    """A step of a microbatch of more and more photos."""
    sizes = settings.preset("tiny_paper")
    weights, stage = pipeline.random_weights(sizes), reconstruction(sizes)
    for count in (1, 2, 4):
        trainer = Trainer(stage, weights, make_batch(sizes, count, 1))
        yield _alone(f"tiny sizes: a step of {count} photos", trainer, count, args)


def by_frames(args: argparse.Namespace) -> Iterator[Rows]:
    """A step of E_tex and E_tri with the gradient through all frames of a clip, one rendered."""
    sizes = settings.preset("tiny_paper")
    weights = pipeline.random_weights(sizes)
    usual = config.parse(fewshot_config.get_config("tiny")).settings
    for count in (1,) if args.smoke else (1, 4, 8, 16):
        own = dataclasses.replace(usual, chunk=count, rendered=1, adversarial_from=1)
        stage = fewshot.make(sizes, own, Batching(1, 1))
        trainer = Trainer(stage, weights, make_batch(sizes, 1, count))
        yield _alone(f"tiny sizes: a step of a clip of {count} frames", trainer, count, args)


def by_devices(args: argparse.Namespace) -> Iterator[Rows]:
    """A step of two microbatches spread over all devices of this process."""
    sizes = settings.preset("tiny_paper")
    weights, stage = pipeline.random_weights(sizes), reconstruction(sizes)
    trainer = Trainer(stage, weights, make_batch(sizes, 2, 1), microbatches=2)
    name = f"tiny sizes: a step of 2 x 1 photos on {jax.device_count()} devices"
    yield _alone(name, trainer, 2, args)


def _alone(name: str, trainer: Trainer, count: int, args: argparse.Namespace) -> Rows:
    peak = trainer.compile()
    one = measure.row(name, trainer.step, {}, rounds=args.rounds, peak_mib=peak, frames=count)[0]
    return [one | {"frames_per_second": 1e3 * count / one["ours_ms"]}]


PARTS = {"photos": by_photos, "frames": by_frames, "devices": by_devices}


def rows(args: argparse.Namespace) -> Iterator[Rows]:
    """All rows; with --part those of one part; with --serve none, but calls when asked."""
    if args.serve:
        calls = their_calls if args.serve == "torch" else our_calls
        measure.serve(calls(sizes_of(args)[1], args.facts))
        return
    if args.part:
        yield from PARTS[args.part](args)
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:  # not otherwise: a process that compiles holds more memory
            os.environ |= QUICK | {"JAX_COMPILATION_CACHE_DIR": folder}
        yield from _measured(args)


def _measured(args: argparse.Namespace) -> Iterator[Rows]:
    """All rows, one process or pair of processes after the other; two at once for a smoke run."""
    allocators = ("tuned",) if args.smoke else measure.ENVIRONMENTS
    jobs = [functools.partial(against_torch, args, allocator) for allocator in allocators]
    # a smoke run has seen the step of photos beside the peer
    alone = ("frames",) if args.smoke else ("frames", "photos")
    jobs += [functools.partial(_in_child, args, part) for part in alone]
    for count in (2,) if args.smoke else (1, 2):
        flags = os.environ.get("XLA_FLAGS", "")
        flags += f" --xla_force_host_platform_device_count={count}"
        # two devices' programs wait for each other; on few cores they must not be queued
        more = {"XLA_FLAGS": flags, "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false"}
        jobs.append(functools.partial(_in_child, args, "devices", **more))
    with futures.ThreadPoolExecutor(2 if args.smoke else 1) as pool:
        yield from pool.map(lambda job: job(), jobs)


def _in_child(args: argparse.Namespace, part: str, **more: str) -> Rows:
    environment = measure.allocator("tuned") | more
    return measure.in_child(MODULE, args, f"--part={part}", environment=environment)["rows"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the processes that this one starts are told."""
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--facts", type=pathlib.Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    measure.main("A step of training", rows, add_options)
