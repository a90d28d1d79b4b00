"""Draws a training run's log as a picture: python -m experiments.training_curve LOG OUT.png."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

PANELS = (
    ("loss", "loss (weighted sum)"),
    ("image", "image L1, [-1, 1]"),
    ("psnr_head", "PSNR on the head, dB"),
    ("mean_alpha", "mean opacity"),
)


def draw(rows: list[dict], out: Path) -> None:
    """One panel a figure; training means of ten steps, and held-out identities as dots."""
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.4))
    for axis, (name, title) in zip(axes, PANELS, strict=True):
        for key, style, label in (
            (name, "-", "training"),
            (f"held_out/{name}", "o--", "held-out identities"),
        ):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                axis.plot(*zip(*points, strict=True), style, label=label, markersize=4)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def main() -> None:
    """Reads LOG (one JSON object a line) and writes OUT.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    draw([json.loads(line) for line in args.log.read_text().splitlines()], args.out)


if __name__ == "__main__":
    main()
