"""Charts as inline SVG: text of a few kilobytes that takes its colours from the page's style.

Colours and fonts come from CSS classes (``axis``, ``grid``, ``series-1`` …), so that a chart is
right in light and in dark. Numbers are written with fixed digits: the same data, the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 92, 14, 40


@dataclass(frozen=True)
class Series:
    """One line: its name, which is written at its end, and its points."""

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 1
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    """One named place in data units; `side` -1 writes the name at its left, 1 at its right."""

    name: str
    x: float
    y: float
    style: int = 1
    side: int = 1


@dataclass(frozen=True)
class Dot:
    """One row of a dot chart: a value from 0 to 1, with an interval where there is one."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    style: int = 1


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`, with a title."""

    title: str
    low: float
    high: float

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values within the axis."""
        raw = (self.high - self.low) / max(count, 1)
        power = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
        step = min((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999), default=1)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def line_chart(
    series: Sequence[Series], x: Axis, y: Axis, *, points: Sequence[Point] = ()
) -> Markup:
    """Return a chart of lines, each named at its end, and of single named points.

    Parameters
    ----------
    series
        Lines; values that are not finite interrupt them.
    x, y
        The axes.
    points
        Marked places, such as the chosen threshold.
    """
    plane = _Plane(x, y)
    parts = [*plane.frame(), *_lines(series, plane)]
    for point in points:
        at = plane.x(point.x), plane.y(point.y)
        parts.append(
            f'<circle class="point series-{point.style}" cx="{at[0]}" cy="{at[1]}" r="5"/>'
        )
        parts.append(
            f'<text class="name series-{point.style}" x="{float(at[0]) + point.side * 10:.1f}" '
            f'y="{float(at[1]) - point.side * 6 + 4:.1f}" '
            f'text-anchor="{"start" if point.side > 0 else "end"}">{escape(point.name)}</text>'
        )
    title = f"{y.title} by {x.title}: {', '.join(line.name for line in series)}"
    return _svg(parts, WIDTH, HEIGHT, title)


def dot_chart(rows: Sequence[Dot], *, title: str, axis: Axis | None = None) -> Markup:
    """Return a chart with a row for each value, and whiskers for its interval.

    Parameters
    ----------
    rows
        From top to bottom.
    title
        Read out in place of the chart.
    axis
        Scale of the values; None is 0 to 1.
    """
    axis = axis or Axis("", 0, 1)
    left, right, step, top = 130, 24, 34, 8
    bottom = top + step * len(rows)
    span = (WIDTH - left - right) / ((axis.high - axis.low) or 1)

    def place(value: float) -> str:
        return f"{left + (value - axis.low) * span:.1f}"

    parts = [
        f'<line class="grid" x1="{place(tick)}" x2="{place(tick)}" y1="{top}" y2="{bottom}"/>'
        f'<text class="tick" x="{place(tick)}" y="{bottom + 18}" text-anchor="middle">'
        f"{_number(tick)}</text>"
        for tick in axis.ticks()
    ]
    for index, row in enumerate(rows):
        parts += _dot_row(row, top + step * (index + 0.5), left, place)
    return _svg(parts, WIDTH, bottom + 30, title)


def _dot_row(row: Dot, middle: float, left: int, at: Callable[[float], str]) -> list[str]:
    name = escape(row.name)
    text = (
        f'<text class="name" x="{left - 14}" y="{middle + 4:.1f}" text-anchor="end">{name}</text>'
    )
    if row.value is None:
        return [text]
    whisker = ""
    if row.low is not None and row.high is not None:
        whisker = (
            f'<line class="whisker series-{row.style}" x1="{at(row.low)}" x2="{at(row.high)}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
        )
    dot = f'<circle class="dot series-{row.style}" cx="{at(row.value)}" cy="{middle:.1f}" r="6"/>'
    above = f'<text class="value" x="{at(row.value)}" y="{middle - 10:.1f}" text-anchor="middle">'
    return [text, whisker, dot, f"{above}{row.value:.3f}</text>"]


class _Plane:
    """Maps data to pixels of the drawing."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y

    def x(self, value: float) -> str:
        share = (value - self._x.low) / ((self._x.high - self._x.low) or 1)
        return f"{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}"

    def y(self, value: float) -> str:
        share = (value - self._y.low) / ((self._y.high - self._y.low) or 1)
        return f"{HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM):.1f}"

    def frame(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for tick in self._y.ticks():
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
            parts.append(
                f'<text class="tick" x="{LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">'
                f"{_number(tick)}</text>"
            )
        parts += [
            f'<text class="tick" x="{self.x(tick)}" y="{bottom + 17}" text-anchor="middle">'
            f"{_number(tick)}</text>"
            for tick in self._x.ticks()
        ]
        middle = (LEFT + right) / 2
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        parts.append(
            f'<text class="title" x="{middle:.1f}" y="{HEIGHT - 5}" text-anchor="middle">'
            f"{escape(self._x.title)}</text>"
        )
        return parts

    def clipped(self, value: float) -> float:
        return min(max(value, self._y.low), self._y.high)


def _lines(series: Sequence[Series], plane: _Plane) -> list[str]:
    parts, ends = [], []
    for line in series:
        known = [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]
        if not known:
            continue
        path = " ".join(f"{plane.x(x)},{plane.y(plane.clipped(y))}" for x, y in known)
        dashed = " dashed" if line.dashed else ""
        parts.append(f'<polyline class="line series-{line.style}{dashed}" points="{path}"/>')
        x, y = known[-1]
        ends.append((float(plane.y(plane.clipped(y))), float(plane.x(x)), line))
    for y, x, line in _spread(ends):
        parts.append(
            f'<text class="name series-{line.style}" x="{x + 8:.1f}" y="{y + 4:.1f}">'
            f"{escape(line.name)}</text>"
        )
    return parts


def _spread(
    ends: list[tuple[float, float, Series]], gap: float = 15
) -> list[tuple[float, float, Series]]:
    """Push the names of lines apart where they would be written over each other."""
    found: list[tuple[float, float, Series]] = []
    for y, x, line in sorted(ends, key=lambda end: end[0]):
        found.append((max(y, found[-1][0] + gap) if found else y, x, line))
    return found


def _number(value: float) -> str:
    return f"{value:.6g}"


def _svg(parts: Sequence[str], width: int, height: int, title: str) -> Markup:
    body = "".join(parts)
    return Markup(  # noqa: S704  (every text in it has been escaped)
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{body}</svg>'
    )
