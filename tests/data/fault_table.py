"""Writes the table of docs/doctor.md: `./avatar python -m tests.data.fault_table`."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from invertavatar_jax.data.doctor import sequence
from invertavatar_jax.data.doctor.examine import examine
from invertavatar_jax.data.doctor.findings import Fault
from tests.data import faults
from tests.data.fault_kinds import KINDS, LISTING

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"
HEADER = "| kind of fault | check | message |\n|---|---|---|\n"
READS_ALL = {check.__name__ for check in sequence.CHECKS}


def spoil(clean: Path, kind: faults.Kind, place: Path) -> list[Fault]:
    """Plants a fault in a copy of the clean data set and examines what it concerns."""
    root = shutil.copytree(clean, place / "data", copy_function=os.link)
    kind.plant(root)
    if kind in LISTING:
        return examine(root, lambda frames: iter(())).faults
    if kind.check in READS_ALL:
        return examine(root).faults
    return examine(root, lambda frames: iter(f for f in frames if f == faults.FRAME)).faults


def row(kind: faults.Kind, found: list[Fault]) -> str:
    """One line of the table; empty where the kind was not found."""
    for fault in found:
        if (fault.check, fault.file) == (kind.check, kind.file):
            message = fault.sentence().replace("|", "\\|")
            return f"| {kind.words} | `{kind.check}` | {message} |\n"
    return ""


def rows(text: str) -> list[str]:
    """The table's lines in a document, with # for every number: those depend on the machine."""
    return [re.sub(r"\d+(\.\d+)?", "#", line) for line in text.splitlines() if line[:2] == "| "]


def main() -> None:
    """Finds every kind and puts the table into the document."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        faults.write_clean(place / "clean")
        lines = []
        for kind in KINDS:
            lines.append(row(kind, spoil(place / "clean", kind, place)))
            shutil.rmtree(place / "data")
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text[: text.index(HEADER)] + HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
