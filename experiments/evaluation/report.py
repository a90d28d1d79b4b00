"""What an experiment leaves behind: one JSON file with its manifest."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from invertavatar_jax.export import files
from invertavatar_jax.train import manifest

Result = dict[str, Any]


def begin(settings: Mapping[str, Any], data: Any, seed: int) -> Result:
    """The manifest, which is of the time when an experiment begins: `make` is called later.

    Args:
        data: what it is computed on, as its fingerprint.
    """
    return manifest.make_manifest(
        settings, data_fingerprint=data, mesh_shape={}, seeds={"all": seed}
    )


def make(
    experiment: str,
    begun: Result,
    *,
    systems: Mapping[str, str],
    not_run: Mapping[str, Mapping[str, str]],
    parts: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    seconds: float,
) -> Result:
    """A result as JSON holds it.

    Args:
        begun: its manifest, of `begin`.
        systems: name -> what it is, with the weights' sum.
        not_run: "systems" and "metrics": name -> what it needs.
        parts: name -> protocol, as in the paper and as run, and summary.
    """
    return {
        "experiment": experiment,
        "preset": begun["config"]["preset"],
        "seconds": round(seconds, 1),
        "seed": begun["seeds"]["all"],
        "data": begun["data"],
        "systems": dict(systems),
        "not_run": {kind: dict(found) for kind, found in not_run.items()},
        "parts": dict(parts),
        "manifest": begun,
        "rows": list(rows),
    }


def write(path: pathlib.Path, result: Result) -> None:
    """Writes a result, whole or not at all; every row is a line."""
    head = json.dumps({k: v for k, v in result.items() if k != "rows"}, indent=1, allow_nan=False)
    rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in result["rows"])
    text = head.removesuffix("\n}") + f',\n "rows": [\n{rows}\n ]\n}}\n'
    files.write_text(path, text)
