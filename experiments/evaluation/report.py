"""What an experiment leaves behind: one JSON file with its manifest."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from invertavatar_jax.export import files
from invertavatar_jax.train import manifest

Result = dict[str, Any]

manifest.code()  # now: a result is made hours later, when the checkout may have moved on


def make(
    experiment: str,
    settings: Mapping[str, Any],
    *,
    data: Any,
    seed: int,
    systems: Mapping[str, str],
    not_run: Mapping[str, Mapping[str, str]],
    parts: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    seconds: float,
) -> Result:
    """A result as JSON holds it.

    Args:
        data: what it was computed on, as its fingerprint.
        systems: name -> what it is, with the weights' sum.
        not_run: "systems" and "metrics": name -> what it needs.
        parts: name -> protocol, as in the paper and as run, and summary.
    """
    made = manifest.make_manifest(
        settings, data_fingerprint=data, mesh_shape={}, seeds={"all": seed}
    )
    return {
        "experiment": experiment,
        "preset": settings["preset"],
        "seconds": round(seconds, 1),
        "seed": seed,
        "data": data,
        "systems": dict(systems),
        "not_run": {kind: dict(found) for kind, found in not_run.items()},
        "parts": dict(parts),
        "manifest": made,
        "rows": list(rows),
    }


def write(path: pathlib.Path, result: Result) -> None:
    """Writes a result, whole or not at all; every row is a line."""
    head = json.dumps({k: v for k, v in result.items() if k != "rows"}, indent=1, allow_nan=False)
    rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in result["rows"])
    text = head.removesuffix("\n}") + f',\n "rows": [\n{rows}\n ]\n}}\n'
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
