"""From the start of a process to the first frame of an avatar, as `./avatar animate` goes there.

Run: ./avatar python -m experiments.benchmarks.startup --out R.json [--rounds N] [--smoke]

The first process compiles and keeps its programs in an empty folder; those after it read them.
Times are the wall clock's, from the moment before the process is started. The avatar is random:
what it shows does not change the time.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import measure
from invertavatar_jax import avatar, generator, networks, weights
from invertavatar_jax.cli import cache_folder
from invertavatar_jax.export import avatars, tensors
from invertavatar_jax.fit import camera, morphable
from invertavatar_jax.types import Camera

STEPS = ("import", "load", "first_frame")  # one after the other
IMPORTS = {
    "avatar --help": ("-m", "invertavatar_jax", "--help"),
    "import invertavatar_jax.avatar": ("-c", "import invertavatar_jax.avatar"),
}


def write_avatar(path: pathlib.Path) -> None:
    """Writes a random avatar of the bundled weights."""
    rng = np.random.default_rng(0)
    arrays, sizes, _ = weights.load()
    nets, side = networks.build(sizes), sizes.renderer.image_resolution
    known = len(morphable.load_head_model().identity)

    def make(own):
        w_plus = jnp.zeros((1, sizes.backbone.w_count, sizes.w_dim))
        maps = generator.features(nets, own, w_plus)
        colours = generator.no_colours(sizes, 1)
        return avatar.Avatar(w_plus, maps, colours, jnp.zeros((1, side, side, 3)), jnp.zeros(known))

    template = jax.eval_shape(make, generator.part(arrays, "generator"))
    draw = lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32)
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 2.7
    front = Camera(pose, np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]]))
    details = {
        "preset": "small",
        "weights_sha256": tensors.sha256(weights.bundled_path()),
        "camera": camera.to_vector(front).tolist(),
    }
    avatars.write_avatar(path, jax.tree.map(draw, template), details)


def start(argv: Sequence[str], caches: pathlib.Path) -> tuple[float, str]:
    """Runs a Python process whose programs are kept below `caches`: when it began, its output."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(caches)}
    environment.pop(cache_folder.FOLDER, None)
    begin = time.time()
    done = subprocess.run(
        [sys.executable, *argv], env=environment, check=True, capture_output=True, text=True
    )
    return begin, done.stdout


def first_frame(person: pathlib.Path, caches: pathlib.Path) -> dict[str, float]:
    """Milliseconds of each step of one process, of all of them, and of CPU."""
    argv = ("-m", "experiments.benchmarks.first_frame", str(person))
    begin, printed = start(argv, caches)
    said = json.loads(printed)
    ends = [begin, *(said[step] for step in STEPS)]
    each = {f"{step}_ms": 1e3 * (ends[i + 1] - ends[i]) for i, step in enumerate(STEPS)}
    return {**each, "wall_ms": 1e3 * (ends[-1] - begin), "cpu_ms": 1e3 * said["cpu_s"]}


def _row(name: str, runs: list[dict[str, float]], **facts: Any) -> dict[str, Any]:
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    walls = [run["wall_ms"] for run in runs]
    timing = measure.Timing(middle["wall_ms"], min(walls), max(walls), middle["cpu_ms"])
    return {
        "name": name,
        "ours_ms": middle["wall_ms"],
        "ours": timing._asdict(),
        "peer": None,
        "peer_ms": None,
        "ratio": None,
        "peak_mib": None,
        **middle,
        **facts,
    }


def rows(args: argparse.Namespace) -> Iterator[list[dict]]:
    """The first process, those after it, and what imports take."""
    rounds = min(args.rounds, 5)
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        person, caches = place / "random.avatar", place / "caches"
        write_avatar(person)
        yield [_row("first process: first frame", [first_frame(person, caches)])]
        kept = [path for path in caches.rglob("*") if path.is_file()]
        facts = {"kept_files": len(kept), "kept_bytes": sum(path.stat().st_size for path in kept)}
        runs = [first_frame(person, caches) for _ in range(rounds)]
        yield [_row("second process: first frame", runs, **facts)]
        for name, argv in IMPORTS.items():
            times = []
            for _ in range(rounds):
                used = os.times()
                begin, _ = start(argv, caches)
                wall, after = time.time() - begin, os.times()
                cpu = sum(after[2:4]) - sum(used[2:4])
                times.append({"wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu})
            yield [_row(name, times)]


if __name__ == "__main__":
    measure.main("Start-up", rows)
