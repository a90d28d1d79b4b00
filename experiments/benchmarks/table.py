"""Benchmark results as a table in a text and as a picture.

python -m experiments.benchmarks.table docs/benchmarks/*.json --text docs/benchmarks.md \
    --plot docs/benchmarks/ratios.png

The table stands between the two marks in the text; what stood there before is replaced.
"""

import argparse
import json
import pathlib
import re
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEADER = "| what | ours | peer | peer's | ratio | temporary or peak |\n|---|---|---|---|---|---|"
Result = dict[str, Any]


def table(results: list[Result], match: str = "") -> str:
    """One table a result, each under a line that says where it was measured.

    Args:
        match: a regular expression for "row / peer"; the rows that have it are shown.
    """
    blocks = []
    for result in results:
        shown = [row for row in result["rows"] if re.search(match, _label(row))]
        if shown:
            lines = [_line(row) for row in shown]
            blocks.append("\n".join([f"{_where(result)}\n", HEADER, *lines]))
    return "\n\n".join(blocks)


def _label(row: dict[str, Any]) -> str:
    return f"{row['name']} / {row['peer']}"


def _where(result: Result) -> str:
    found = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    chosen = ", ".join(f"{name}={value}" for name, value in found["settings"].items())
    return (
        f"**{result['title']}**: {found['device']}, {found['cpu']}, {found['cores']} cores, "
        f"Python {found['python']}, {versions}; {chosen or 'default settings'}; medians of "
        f"{result['rounds']} calls of each side in turns; commit {found['commit']}."
    )


def _line(row: dict[str, Any]) -> str:
    milliseconds = lambda value: "" if value is None else f"{value:.{0 if value >= 100 else 2}f} ms"
    name = row["name"]
    if "frames_per_second" in row:
        name += f" ({row['frames_per_second']:.1f} frames/s)"
    peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f} MiB"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    cells = [name, milliseconds(row["ours_ms"]), row["peer"] or ""]
    return "| " + " | ".join([*cells, milliseconds(row["peer_ms"]), ratio, peak]) + " |"


def insert(text: str, made: str) -> str:
    """The text with the table between its marks.

    Raises:
        ValueError: it lacks them.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the text lacks the lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def plot(results: list[Result], path: pathlib.Path) -> None:
    """A bar for every row with a peer: time as a part of the peer's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for result in results for row in result["rows"] if row["peer"] is not None]
    labels = [_label(row) for row in rows]
    figure, axes = pyplot.subplots(figsize=(9, 0.8 + 0.22 * len(rows)), layout="constrained")
    ratios = [row["ratio"] for row in rows]
    colours = ["#2a7f62" if ratio <= 1 else "#b3462b" for ratio in ratios]
    axes.barh(range(len(rows)), ratios, color=colours)
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("our time over the peer's, in one run (less is faster)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Reads result files; writes the table and the picture."""
    parser = argparse.ArgumentParser(description="Benchmark results as a table and a picture.")
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, help="file with the two marks")
    parser.add_argument("--match", default="", metavar="REGEX", help='rows, by "name / peer"')
    parser.add_argument("--plot", type=pathlib.Path, metavar="P.png")
    args = parser.parse_args()
    results = [json.loads(path.read_text()) for path in args.results]
    made = table(results, args.match)
    if args.text:
        args.text.write_text(insert(args.text.read_text(), made))
    else:
        print(made)
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
