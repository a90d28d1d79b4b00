"""The report: one HTML file that needs no network."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.long_sequences.study import Part, Row, figure

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
h2 { margin: 2em 0 .3em } img { max-width: 100% } .answer { font-weight: 600 }
.facts, td, th { font-size: 13px } td, th { padding: 0 .7em; text-align: right }
td:first-child, th:first-child { text-align: left } details { margin: .5em 0 }
"""


def write(result: Mapping[str, Any], parts: Mapping[str, Part]) -> str:
    """The page of a result, which may hold some of the parts only."""
    made = result["manifest"]
    facts = [
        f"preset {result['preset']}",
        result["data"]["name"],
        f"seed {result['seed']}",
        f"{result['seconds']} s",
        str(made["devices"]["kind"]),
        f"commit {made['code']['commit']}",
    ]
    text = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Long sequences</title>",
        f"<style>{STYLE}</style><h1>Avatars over long sequences</h1>",
        f"<p class=facts>{html.escape(', '.join(facts))}. Means are over people, bands are 95 % "
        "bootstrap intervals.</p>",
        _systems(result),
    ]
    for name, part in parts.items():
        found = result["parts"].get(name)
        if found is None:
            text.append(f"<h2>{html.escape(part.question)}</h2><p>Not run.</p>")
            continue
        rows = [row for row in result["rows"] if row["part"] == name]
        text.append(
            f"<h2>{html.escape(part.question)}</h2>"
            f"<p class=answer>{html.escape(found['answer'])}</p>"
            f'<img alt="{name}" src="{_picture(figure(part, rows))}">'
            f"<p class=facts>{found['seconds']} s</p>"
            f"<details><summary>{len(rows)} rows</summary>{_table(rows)}</details>"
        )
    return "\n".join(text) + "\n"


def _systems(result: Mapping[str, Any]) -> str:
    lines = [f"<li>{html.escape(f'{k}: {v}')}" for k, v in result["systems"].items()]
    missing = result["not_run"]["systems"].items()
    lines += [f"<li>{html.escape(f'{name}: not run, {why}')}" for name, why in missing]
    return f"<ul class=facts>{''.join(lines)}</ul>"


def _picture(made: Figure) -> str:
    held = io.BytesIO()
    made.savefig(held, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode("ascii")


def _table(rows: Sequence[Row]) -> str:
    columns = [key for key in dict.fromkeys(k for row in rows for k in row) if key != "part"]
    cell = lambda row, key: html.escape(_number(row.get(key, "")))
    head = "".join(f"<th>{html.escape(key)}" for key in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell(row, key)}" for key in columns) for row in rows)
    return f"<table><tr>{head}{body}</table>"


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
