"""Curves of a run as SVG, for a page that loads nothing."""

import html
import math
from collections.abc import Mapping, Sequence

Curve = Sequence[tuple[float, float]]  # (step, value), steps ascending
_WIDTH, _HEIGHT = 420, 190  # of the picture, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 8, 24  # around the axes
_POINTS = 300  # drawn of a curve: more do not show


def chart(title: str, curves: Mapping[str, Curve]) -> str:
    """A figure with one line a curve; the caption tells the last values.

    Args:
        curves: by name, each with a point at least.
    """
    drawn = {name: thin(curve) for name, curve in curves.items()}
    steps = [step for curve in drawn.values() for step, _ in curve]
    values = [value for curve in drawn.values() for _, value in curve]
    ticks = nice_ticks(min(values), max(values))
    low, high = min(*ticks, *values), max(*ticks, *values)
    across, up = _scale(min(steps), max(steps)), _scale(low, high)
    x = lambda step: _LEFT + across(step) * (_WIDTH - _LEFT - _RIGHT)
    y = lambda value: _HEIGHT - _BOTTOM - up(value) * (_HEIGHT - _TOP - _BOTTOM)
    parts = [_level(y(tick), f"{tick:g}") for tick in ticks]
    parts += [
        _text(x(step), _HEIGHT - 6, f"{step:g}", anchor)
        for step, anchor in {min(steps): "start", max(steps): "end"}.items()
    ]
    for index, curve in enumerate(drawn.values()):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve)
        dot = f'<circle cx="{x(curve[-1][0]):.1f}" cy="{y(curve[-1][1]):.1f}" r="3"/>'
        parts.append(f'<g class="curve{index % 3}"><polyline points="{path}"/>{dot}</g>')
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
    told = " ".join(
        f'<span class="key{index % 3}">{html.escape(name)} {curve[-1][1]:.4g}</span>'
        for index, (name, curve) in enumerate(curves.items())
    )
    return f"<figure><figcaption><b>{html.escape(title)}</b> {told}</figcaption>{svg}</figure>"


def thin(curve: Curve, points: int = _POINTS) -> list[tuple[float, float]]:
    """At most `points` means of neighbours; shorter curves as they are."""
    each = math.ceil(len(curve) / points)
    groups = [curve[i : i + each] for i in range(0, len(curve), each)]
    mean = lambda numbers: sum(numbers) / len(numbers)
    return [(group[-1][0], mean([value for _, value in group])) for group in groups]


def nice_ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers from `low` to `high`; one where both are equal."""
    if low == high:
        return [low]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def _scale(low: float, high: float):
    """From [low, high] to [0, 1]; to the middle where both are equal."""
    return lambda value: (value - low) / (high - low) if high > low else 0.5


def _level(y: float, label: str) -> str:
    line = f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 5, y + 3.5, label, "end")


def _text(x: float, y: float, label: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(label)}</text>'
