"""Figure 6: error over the number of source frames, ours beside averages and fixed windows.

Run: ./avatar python -m experiments.figure6 --out out/figure6        (--smoke: minutes, no meaning)

People are rendered (fixed identities and movements, exact truth), or the frames of a tracked
clip: --clip FILE. Baselines with other aggregators need weights: --baseline NAME=FILE.
"""

import argparse
import pathlib
import subprocess
import sys
import time

from tqdm import tqdm

from experiments.evaluation import footage, report, score, systems
from experiments.evaluation.protocols import PROTOCOLS, shrink, trials
from invertavatar_jax import avatar, networks
from invertavatar_jax import weights as weights_files
from invertavatar_jax.export import tensors
from invertavatar_jax.fit import morphable, track
from invertavatar_jax.metrics import registry
from invertavatar_jax.metrics.metric import fingerprints

SEED = 0
FIRST = 100_000  # identity numbers from here on are for evaluation alone
EVERY = 4  # frames between a rendered person's moments
CHOICES = [name for name, one in PROTOCOLS.items() if one.driven_by == "itself"]
METRICS = ("psnr", "l1", "ssim", "gradient_distance")


def main() -> None:
    """Reconstructs, renders, scores, and writes the result and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="two people of six frames")
    parser.add_argument("--protocol", default="frames_curve", choices=CHOICES)
    parser.add_argument("--weights", metavar="FILE", help="of our system (those of the package)")
    parser.add_argument("--baseline", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--clip", type=pathlib.Path, help="a video, in place of rendered people")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--frames", type=int, default=48, help="of each clip")
    parser.add_argument("--scored", type=int, default=8, help="most frames scored per avatar")
    args = parser.parse_args()
    if args.smoke:
        args.people, args.frames, args.scored = 2, 6, 2
    begun = time.monotonic()
    model = avatar.load(args.weights)
    tested, about = open_systems(model, args.weights, args.baseline)
    people, data = open_people(args, model.sizes.renderer.image_resolution)
    length = min(len(one.frames) for one in people)
    protocol = shrink(PROTOCOLS[args.protocol], len(people), length)
    chosen = trials(protocol, len(people), 0, seed=SEED, most=args.scored)
    metrics = {name: registry.make(name) for name in METRICS}
    found = []
    with tqdm(total=len(tested) * len(chosen), unit="avatar") as bar:
        for name, system in tested.items():
            for row in score.rows(name, system, chosen, people, metrics):
                found.append(row)
                bar.update()
    summary = score.summary(found, metrics, SEED)
    given = {name: str(value) for name, value in vars(args).items()}
    report.write(
        args.out / "figure6.json",
        "figure6",
        given,
        data=data,
        seed=SEED,
        systems=about,
        summary=summary,
        rows=found,
        seconds=time.monotonic() - begun,
    )
    report.plot_curves(
        args.out / "figure6.png", summary, METRICS, f"{args.protocol}, {data['name']}"
    )
    for row in summary:
        print(row["system"], row["sources"], {name: row[name]["mean"] for name in METRICS})


def open_systems(
    model: avatar.Model, weights: str | None, baselines: list[str]
) -> tuple[dict[str, systems.System], dict[str, str]]:
    """Systems by name, and what they are, with the SHA-256 of their weights.

    Args:
        weights: the model's file; None for the bundled one.
    """
    bench = systems.open_bench(model)
    tested = {
        "ours": systems.ours(bench),
        "first frame": systems.first_frame(bench),
        "one-shot averaged": systems.averaged(bench, 1),
        "coarse": systems.coarse(bench),
        "textured mesh": systems.textured_mesh(bench),
    }
    sums = dict.fromkeys(tested, _sum(weights))
    for given in baselines:
        name, _, path = given.partition("=")
        other = avatar.load(path)
        window = networks.window(other.sizes)
        bench = systems.open_bench(other)
        tested[name] = systems.averaged(bench, window) if window else systems.ours(bench)
        sums[name] = _sum(path)
    return tested, {name: f"{one.about}; weights {sums[name]}" for name, one in tested.items()}


def _sum(path: str | None) -> str:
    return tensors.sha256(pathlib.Path(path) if path else weights_files.bundled_path())[:16]


def open_people(args: argparse.Namespace, side: int) -> tuple[list[footage.Footage], dict]:
    """The clips, and what tells them from others; people are rendered unless they are there."""
    if args.clip is not None:
        found, _ = track.fit(args.clip, morphable.load_head_model())
        data = {"name": args.clip.name, "sha256": fingerprints(args.clip)}
        return [footage.tracked(args.clip.name, found, side)], data
    folder = args.out / f"people_{args.people}x{args.frames}"
    command = [sys.executable, "-m", "tfds_builders.synthetic_heads", "--first", str(FIRST)]
    command += ["--identities", str(args.people), "--frames", str(args.frames)]
    command += ["--every", str(EVERY), "--out", str(folder)]
    subprocess.run(command, check=True)
    people = footage.synthetic(folder, side)
    return people, {"name": "rendered people", "sha256": fingerprints(*folder.glob("*.npz"))}


if __name__ == "__main__":
    main()
