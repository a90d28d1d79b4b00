"""A page that tells of a training run: curves, pictures, checkpoints, what it was started with."""

import base64
import datetime
import html
import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files
from invertavatar_jax.train import log, manifest
from invertavatar_jax.train.curves import Curve, chart

FILE = "summary.html"
_HELD_OUT = "held_out/"
_RATES = (
    "seconds_per_step",
    "images_per_second",
    "utilisation",
    "gflops_per_second",
    "first_step_seconds",
)
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #777; --paper: #fff; --line: #ddd;
  --c0: #2563b0; --c1: #c2570c; --c2: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #999; --paper: #16181b;
  --line: #34383d; --c0: #6ea8e8; --c1: #f0995a; --c2: #72c496; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 1300px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.curves { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(380px, 1fr)); }
figure { margin: 0; } figcaption { font-size: 13px; overflow-wrap: anywhere; }
svg { width: 100%; } svg text { font-size: 11px; fill: var(--soft); }
svg line { stroke: var(--line); } svg polyline { fill: none; stroke-width: 1.6; }
.curve0 { stroke: var(--c0); fill: var(--c0); } .key0 { color: var(--c0); }
.curve1 { stroke: var(--c1); fill: var(--c1); } .key1 { color: var(--c1); }
.curve2 { stroke: var(--c2); fill: var(--c2); } .key2 { color: var(--c2); }
img { max-width: 100%; } table { border-collapse: collapse; font-size: 13px; }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
pre { overflow: auto; font-size: 12px; background: color-mix(in srgb, var(--ink) 6%, transparent);
  padding: .7rem; }
"""


def write_summary(run_folder: str | pathlib.Path) -> pathlib.Path:
    """Writes summary.html into a run's folder, from what is there so far.

    The page holds everything it shows. The run may be going on, or have been killed.

    Raises:
        UserError: the folder holds neither a log nor a manifest, or cannot be written.
    """
    folder = pathlib.Path(run_folder)
    rows, starts = log.read(folder), manifest.read_manifests(folder)
    if not rows and not starts:
        raise UserError(
            f"{folder} is no folder of a training run: it has neither {log.FILE} nor "
            f"{manifest.FILE}."
        )
    config = starts[-1].get("config", {}) if starts else {}
    title = f"Training run {folder.absolute().name}"
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _state(folder, rows, config),
        _section("Curves", _curves(rows)),
        _section("Newest pictures", _pictures(folder / "images")),
        _section("Checkpoints", _checkpoints(folder / "checkpoints")),
        _section("How to go on", _how_to_resume(starts)),
        _section("Starts", _starts(starts)),
        _stuck(folder / "stuck.txt"),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{''.join(sections)}</body></html>\n"
    )
    files.write_text(folder / FILE, page)
    return folder / FILE


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content or '<p>None yet.</p>'}\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Cells are text and are escaped."""
    line = lambda tag, row: "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><tr>{line('th', head)}</tr>{body}</table>" if body else ""


def _time(path: pathlib.Path) -> str:
    """When a file changed last."""
    seconds = path.stat().st_mtime
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _state(folder: pathlib.Path, rows: list[dict], config: dict) -> str:
    """Stage, how far the run is and when it last wrote; whether it still lives is not known."""
    last, total = max([row["step"] for row in rows], default=0), config.get("total_steps")
    reached = f"step {last}" + (f" of {total}" if total is not None else "")
    if total is not None and last >= total:
        reached += " (finished)"
    written = f", last line written {_time(folder / log.FILE)}" if rows else ""
    stage = f"Stage {config['stage']}: " if "stage" in config else ""
    return f"<p>{html.escape(f'{stage}{reached}{written}.')}</p>\n"


def _curves(rows: list[dict]) -> str:
    """Held-out metrics first, then those of training, then speed."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "steps") and isinstance(value, int | float):
                found.setdefault(name, []).append((row["step"], value))
    charts: dict[str, dict[str, Curve]] = {}
    held_out = [name for name in found if name.startswith(_HELD_OUT)]
    speed = [name for name in _RATES if name in found]
    for name in [*held_out, *sorted(set(found) - {*held_out, *speed}), *speed]:
        held = name.startswith(_HELD_OUT)
        where = "held out" if held else "" if name in speed else "training"
        charts.setdefault(name.removeprefix(_HELD_OUT), {})[where] = found[name]
    # training before held out, so that each keeps its colour
    in_order = lambda curves: dict(sorted(curves.items(), reverse=True))
    drawn = "".join(chart(name, in_order(curves)) for name, curves in charts.items())
    return f'<div class="curves">{drawn}</div>' if drawn else ""


def _pictures(folder: pathlib.Path) -> str:
    """The last picture of every name."""
    newest: dict[str, pathlib.Path] = {}
    for path in sorted(folder.glob("*_*.png")):
        newest[path.stem.rpartition("_")[0]] = path  # the step has leading zeros
    return "".join(
        f"<figure><figcaption>{html.escape(path.stem)}</figcaption>"
        f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}"></figure>'
        for path in newest.values()
    )


def _checkpoints(folder: pathlib.Path) -> str:
    """Folders named by their step; unfinished ones have other names."""
    found = [path for path in folder.glob("*") if path.is_dir() and re.fullmatch(r"\d+", path.name)]
    size = lambda path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    rows = [
        (path.name, f"{size(path) / 1e6:.1f} MB", _time(path))
        for path in sorted(found, key=lambda path: int(path.name))
    ]
    return _table(("step", "size", "written"), rows)


def _how_to_resume(starts: list[dict]) -> str:
    text = "<p>Run the same command again: it goes on after the newest checkpoint.</p>"
    if starts and "command" in starts[-1]:
        text += f"<pre>{html.escape(str(starts[-1]['command']))}</pre>"
    return text


def _starts(starts: list[dict]) -> str:
    """A line a start, with what changed since the one before; then the last one whole."""
    rows = []
    for index, entry in enumerate(starts):
        changed = manifest.compare(starts[index - 1], entry) if index else []
        rows.append((entry.get("started", ""), " ".join(changed) or "–"))
    if not rows:
        return ""
    whole = html.escape(json.dumps(starts[-1], indent=2))
    table = _table(("started", "what changed since the start before"), rows)
    return (
        f"{table}<details><summary>The last start's manifest</summary><pre>{whole}</pre></details>"
    )


def _stuck(path: pathlib.Path) -> str:
    if not path.exists():
        return ""
    told = html.escape(path.read_text(encoding="utf-8", errors="replace"))
    note = "<p>The watchdog ended this run; it was here:</p>"
    return _section("Stuck", f"{note}<details><summary>Stacks</summary><pre>{told}</pre></details>")
