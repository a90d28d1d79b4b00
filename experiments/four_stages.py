"""All four stages of training in sequence, on synthetic heads, and the avatar that comes out.

Run: ./avatar python -m experiments.four_stages --out DIR   (--smoke: two iterations a stage)

Each stage begins with the weights that the one before has shipped. After each, avatars are made
of the held-out people's frames and compared with frames that were not shown (PSNR). A stopped
run goes on where it was. DIR gets a folder per stage, report.json and avatar.png.
"""

import argparse
import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from invertavatar_jax import generator, inversion, motion, networks, weights
from invertavatar_jax.cli.train import read_weights
from invertavatar_jax.data import training as records
from invertavatar_jax.export import picture
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model, preset
from invertavatar_jax.train import config, grids, log, loop, samples
from invertavatar_jax.train.program import Program
from invertavatar_jax.train.stages.inversion_losses import nearness
from invertavatar_jax.types import Camera, Drive, Frame

PRESET = "tiny_paper"
STEPS = {"gan": 800, "latent": 600, "oneshot": 300, "fewshot": 240}
PEOPLE, FRAMES, HELD_OUT = 40, 8, 4
SOURCES = 4  # frames that an avatar is made of, when it is measured


def make_data(folder: pathlib.Path, people: int) -> pathlib.Path:
    """Frame records of synthetic people, unless they are there."""
    if not folder.exists():
        command = [sys.executable, "-m", "tfds_builders.synthetic_heads", "--records"]
        command += ["--preset", PRESET, "--identities", str(people), "--frames", str(FRAMES)]
        subprocess.run([*command, "--out", str(folder)], check=True)
    return folder


def settings_of(stage: str, data: pathlib.Path, steps: int, before: str) -> config.Training:
    """The stage's tiny settings, for more than a test."""
    values = importlib.import_module(f"configs.{stage}").get_config("tiny")
    values.update(dict(data=str(data), weights=before, total_steps=steps, held_out=HELD_OUT))
    often = max(steps // 4, 1)
    values.update(dict(log_every=max(steps // 40, 1), validate_every=often, image_every=often))
    values.update(dict(checkpoint_every=often))
    return config.parse(values)


@functools.partial(jax.jit, static_argnums=0)
def _reconstruct(sizes: Model, held: Weights, shown: Frame, unseen: Drive):
    """Avatars of frames [t b], driven to frames that were not shown."""
    nets = networks.build(sizes)
    memory, maps = inversion.reconstruct(nets, held, sizes, shown)
    prior = part(held, "generator")
    return generator.render(nets, prior, sizes, memory.w_plus, maps, unseen)


def held_out_frames(data: pathlib.Path) -> tuple[Frame, Frame]:
    """Source frames [t b] of the people held out, and one more of each [b]."""
    _, held = records.open_records(data).split(HELD_OUT)
    rows = [[held[clip.first + i] for i in range(SOURCES + 1)] for clip in held.clips]
    names = [name for name in rows[0][0] if name not in ("clip", "frame")]
    batch = {name: np.array([[one[name] for one in row] for row in rows]) for name in names}
    found = samples.frames(batch)
    shown = jax.tree.map(lambda x: jnp.swapaxes(x[:, :SOURCES], 0, 1), found)
    return shown, jax.tree.map(lambda x: x[:, SOURCES], found)


def score(sizes: Model, held: Weights, shown: Frame, unseen: Frame) -> float:
    """PSNR in dB of whole images, mean over people."""
    out = _reconstruct(sizes, held, shown, unseen.drive)
    return float(nearness(out.image, unseen.image, unseen.matte)["psnr"])


def turned(cameras: Camera, yaw_rad: float) -> Camera:
    """Cameras [b] that have gone round the head."""
    each = [
        motion.orbit(jax.tree.map(lambda x, i=i: np.asarray(x[i]), cameras), [yaw_rad], [0.0])
        for i in range(cameras.intrinsics.shape[0])
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x).astype(jnp.float32), *each)


def draw_avatar(sizes: Model, held: Weights, shown: Frame, unseen: Frame, path: pathlib.Path):
    """A picture: first source, truth, the avatar in that pose, its depth, and from the sides.

    Raises:
        ValueError: the avatar is not finite, or is the same from every side.
    """
    out = _reconstruct(sizes, held, shown, unseen.drive)
    rows = {"source": shown.image[0], "truth": unseen.image, "avatar": out.image}
    rows["depth"] = out.depth
    for degrees in (-25, 25):
        camera = turned(unseen.drive.camera, float(np.deg2rad(degrees)))
        drive = unseen.drive._replace(camera=camera)
        rows[f"{degrees} deg"] = _reconstruct(sizes, held, shown, drive).image
    spread = np.abs(np.asarray(rows["-25 deg"]) - np.asarray(rows["25 deg"])).max()
    if not np.isfinite(spread) or spread < 1e-3:
        raise ValueError(f"the avatar from two sides differs by {spread}")
    picture.write_png(path, grids.grid(rows))


def losses(folder: pathlib.Path) -> dict[str, tuple[float, float]]:
    """Every phase's loss: means of the first and the last quarter of its log."""
    rows = log.read(folder)
    names = sorted({name for row in rows for name in row if name.endswith("/loss")})
    found = {}
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        quarter = max(len(values) // 4, 1)
        found[name] = float(np.mean(values[:quarter])), float(np.mean(values[-quarter:]))
    return found


def run_stage(
    stage: str, out: pathlib.Path, data: pathlib.Path, steps: int, before: str
) -> pathlib.Path:
    """Trains a stage, or goes on with it, and returns the folder of its run.

    Raises:
        SystemExit: a signal stopped it.
    """
    training = settings_of(stage, data, steps, before)
    begin = read_weights(before) if before else None
    program = Program(training, begin)
    state = loop.train(training, out / stage, weights=begin, program=program)
    if int(state.step) < steps:
        raise SystemExit(0)  # it has said how to go on
    return out / stage


def main() -> None:
    """Trains, measures, draws, and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="two iterations a stage")
    args = parser.parse_args()
    sizes, began = preset(PRESET), time.monotonic()
    data = make_data(args.out / "data", HELD_OUT + 2 if args.smoke else PEOPLE)
    shown, unseen = held_out_frames(data)
    report: dict[str, Any] = {"preset": PRESET, "cores": len(os.sched_getaffinity(0))}
    report["data_seconds"] = round(time.monotonic() - began, 1)
    before, held = "", None
    for stage, steps in STEPS.items():
        began = time.monotonic()
        folder = run_stage(stage, args.out, data, 2 if args.smoke else steps, before)
        held, _, _ = weights.load(folder / loop.WEIGHTS)
        row = {"steps": steps, "seconds": round(time.monotonic() - began, 1)}
        row |= {"held_out_psnr_db": round(score(sizes, held, shown, unseen), 2)}
        row |= {"losses_first_and_last_quarter": losses(folder)}
        report[stage], before = row, str(folder)
        print(json.dumps({stage: row}), flush=True)
    draw_avatar(sizes, held, shown, unseen, args.out / "avatar.png")  # pyright: ignore
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
