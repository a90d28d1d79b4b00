"""What an experiment leaves behind: one JSON file with its manifest, and a picture."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot

from invertavatar_jax.export import files
from invertavatar_jax.train import manifest


def write(
    path: pathlib.Path,
    experiment: str,
    settings: Mapping[str, Any],
    *,
    data: Any,
    seed: int,
    systems: Mapping[str, str],
    summary: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    seconds: float,
) -> None:
    """Writes a result, whole or not at all.

    Args:
        data: what it was computed on, as its fingerprint.
        systems: name -> what it is, with the weights' sum.
    """
    made = manifest.make_manifest(
        settings, data_fingerprint=data, mesh_shape={}, seeds={"all": seed}
    )
    result = {
        "experiment": experiment,
        "seconds": round(seconds, 1),
        "systems": dict(systems),
        "summary": list(summary),
        "manifest": made,
        "rows": list(rows),
    }
    files.write_json(path, result)


def plot_curves(
    path: pathlib.Path, summary: Sequence[Mapping[str, Any]], metrics: Sequence[str], title: str
) -> None:
    """A metric over the number of source frames, a curve per system, with its interval."""
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(5 * len(metrics), 4), squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        for system in dict.fromkeys(row["system"] for row in summary):
            some = [row for row in summary if row["system"] == system]
            counts = [row["sources"] for row in some]
            bounds = [[row[metric][end] for row in some] for end in ("low", "high")]
            (line,) = axis.plot(counts, [row[metric]["mean"] for row in some], "o-", label=system)
            if all(x is not None for side in bounds for x in side):
                axis.fill_between(counts, *bounds, color=line.get_color(), alpha=0.15)
        first = summary[0][metric]
        axis.set(
            xlabel="source frames", ylabel=f"{metric} {first['unit']} ({first['better']} is better)"
        )
        axis.set_xscale("log", base=2)
    axes[0][0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
