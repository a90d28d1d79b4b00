"""What closes a data set: the labels of all clips, a report, and a contact sheet."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from invertavatar_jax.data import released
from invertavatar_jax.data.preparing.clip import RECORDS, Record, record_path
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files, picture

REPORT = "report.json"
STRIPS = 40  # clips on the contact sheet


def read_record(out: str | Path, name: str) -> Record | None:
    """The record of a finished clip; None where it is not finished.

    Raises:
        UserError: the record is damaged.
    """
    path = record_path(out, name)
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: delete it, and the clip is made again.") from error


def read_report(out: str | Path) -> dict[str, Any]:
    """What `finish` wrote last."""
    return json.loads((Path(out) / REPORT).read_text(encoding="utf-8"))


def finish(out: str | Path) -> dict[str, Any]:
    """Writes labels, report.json, report.md and sheet.png of all finished clips.

    Returns:
        The report.
    """
    out = Path(out)
    names = sorted(path.stem for path in (out / RECORDS).glob("*.json"))
    records = [record for name in names if (record := read_record(out, name)) is not None]
    labels = [label for record in records for label in record["labels"]]
    for file in released.LABELS if labels else ():
        files.write_text(out / released.IMAGES / file, json.dumps({"labels": labels}))
    reasons = Counter(item["reason"] for record in records for item in record["rejected"])
    report = {
        "clips": sum(bool(record["labels"]) for record in records),
        "frames": len(labels),
        "rejected_frames": sum(reasons.values()),
        "reasons": dict(reasons.most_common()),
        "sources": [
            {key: value for key, value in record.items() if key != "labels"} for record in records
        ],
    }
    files.write_json(out / REPORT, report)
    files.write_text(out / "report.md", _words(report, records))
    strips = [
        path for name in names if (path := record_path(out, name).with_suffix(".png")).exists()
    ]
    if strips:
        picture.write_png(out / "sheet.png", _sheet(strips[:STRIPS]))
    return report


def _words(report: dict[str, Any], records: list[Record]) -> str:
    lines = [
        "# Prepared data\n",
        f"{report['clips']} clips, {report['frames']} frames; "
        f"{report['rejected_frames']} frames rejected.\n",
        "| clip | source | kept | rejected | reasons |\n|---|---|---|---|---|",
    ]
    for record in records:
        reasons = Counter(item["reason"] for item in record["rejected"])
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        cells = (record["name"], record["source"], len(record["frames"]), sum(reasons.values()))
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, told)) + " |")
    return "\n".join(lines) + "\n"


def _sheet(strips: list[Path]) -> picture.Picture:
    """The clips' strips, one below the other."""
    found = [np.asarray(Image.open(path).convert("RGB")) for path in strips]
    width = max(strip.shape[1] for strip in found)
    wide = lambda strip: np.pad(
        strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255
    )
    return np.concatenate([wide(strip) for strip in found])
