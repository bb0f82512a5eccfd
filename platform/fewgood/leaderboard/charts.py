"""The report's charts as inline SVG: dots with intervals, and points over an axis; each carries its data as a table.

Colours are CSS classes of the report's style sheet (blue, orange and grey of Okabe and Ito, told apart by
colour-blind readers), and shape says the same again: a filled dot is a certain difference, a hollow one is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from markupsafe import Markup, escape

from fewgood.leaderboard.formats import format_interval, plain_text

__all__ = ["Chart", "Dot", "Series", "critical_difference_chart", "dot_chart", "point_chart", "ticks"]

WIDTH = 570
"""Width of a chart in SVG units; the page scales it."""

_ROW = 30
_LABEL = 166
_VALUE = 184
_TOP = 12
_AXIS = 46
_SIDE = 208
_STEP = 26


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One row of a dot chart: a mean with its interval; None where there is none."""

    label: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    style: str = "neutral"
    """CSS class of the mark: up, down, neutral, total, one or two."""
    filled: bool = True
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points (x, y, low, high) that belong together, marked by a `circle` or a `square`; a `step` is a line only."""

    name: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    style: str = "one"
    mark: str = "circle"
    line: bool = True
    step: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, what it shows in words, and the numbers it was drawn from."""

    title: str
    caption: str
    svg: Markup
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[tuple[str, str, str], ...] = field(default=())
    """(name, CSS class, mark) of each series."""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` or below to `high` or above."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def dot_chart(
    dots: Sequence[Dot], *, title: str, caption: str, axis: str, signed: bool = False, quantity: str = "row"
) -> Chart:
    """Means with intervals, one row each, on a common horizontal axis; with `signed`, zero is marked.

    Args:
        dots: Rows from top to bottom.
        title: Heading of the chart.
        caption: One sentence on how to read it.
        axis: Label of the axis.
        signed: The values are differences.
        quantity: Heading of the labels in the table.

    Returns:
        The chart.
    """
    known = [value for dot in dots for value in (dot.mean, dot.low, dot.high) if value is not None]
    low, high = (
        min([*known, 0.0] if signed else known, default=0.0),
        max([*known, 0.0] if signed else known, default=1.0),
    )
    margin = max((high - low) * 0.06, 0.01)
    marks = ticks(low - margin, high + margin, 3)
    if not signed:
        marks = [mark for mark in marks if -1e-9 <= mark <= 1 + 1e-9]
    left, right = min(marks[0], low), max(marks[-1], high)
    height = _TOP + _ROW * len(dots) + _AXIS
    inner = WIDTH - _LABEL - _VALUE
    bottom = _TOP + _ROW * len(dots)

    def x(value: float) -> float:
        return round(_LABEL + (value - left) / ((right - left) or 1) * inner, 1)

    parts = [_vertical_grid([(x(mark), _tick(mark, marks, signed)) for mark in marks], _TOP, bottom)]
    if signed:
        parts.append(f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="{_TOP}" y2="{bottom}"/>')
    parts.append(_text(_LABEL + inner / 2, height - 6, axis, "axis", "middle"))
    for index, dot in enumerate(dots):
        y = _TOP + _ROW * index + _ROW / 2
        weight = " strong" if dot.style == "total" else ""
        if dot.style == "total" and index:
            parts.append(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{y - _ROW / 2}" y2="{y - _ROW / 2}"/>')
        parts.append(_text(_LABEL - 12, y + 4, _shorten(dot.label, 18), f"label{weight}", "end", full=dot.label))
        value = format_interval(dot.mean, dot.low, dot.high, signed=signed)
        parts.append(_text(_LABEL + inner + 12, y + 4, value, "value", "start"))
        if dot.mean is None:
            continue
        shape = "filled" if dot.filled else "hollow"
        if dot.low is not None and dot.high is not None:
            a, b = x(dot.low), x(dot.high)
            parts.append(f'<line class="interval {dot.style}" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>')
            parts += [f'<line class="cap {dot.style}" x1="{e}" x2="{e}" y1="{y - 5}" y2="{y + 5}"/>' for e in (a, b)]
            parts.append(f'<circle class="{shape} {dot.style}" cx="{x(dot.mean)}" cy="{y}" r="5.5"/>')
        else:
            parts.append(_diamond(x(dot.mean), y, f"hollow {dot.style}"))
    rows = tuple((dot.label, *_cells(dot, signed), dot.remark) for dot in dots)
    return Chart(
        title=title,
        caption=caption,
        svg=_svg(height, title, parts),
        headers=(quantity, "mean", "low", "high", "remark"),
        rows=rows,
    )


def point_chart(
    series: Sequence[Series],
    *,
    title: str,
    caption: str,
    x_axis: str,
    y_axis: str,
    signed: bool = False,
    log_x: bool = False,
    whole_x: bool = False,
) -> Chart:
    """Points, with intervals where known, over a linear or (base 2) logarithmic horizontal axis.

    Args:
        series: What is drawn, first at the back; at least one point in all.
        title: Heading of the chart.
        caption: One sentence on how to read it.
        x_axis: Label below.
        y_axis: Label above the vertical axis.
        signed: The vertical values are differences: zero is marked.
        log_x: Powers of two are equally far apart; x must be positive.
        whole_x: x counts something: ticks at the values themselves, or at whole numbers.

    Returns:
        The chart.
    """
    left, right, top, bottom = 62, WIDTH - 12, 34, 254
    xs = sorted({point[0] for item in series for point in item.points})
    ys = [value for item in series for point in item.points for value in point[1:] if value is not None]
    if signed:
        ys.append(0.0)
    pad = max((max(ys) - min(ys)) * 0.08, 0.004)
    y_marks = ticks(min(ys) - pad, max(ys) + pad)
    if not signed:
        y_marks = [mark for mark in y_marks if mark <= 1 + 1e-9] or y_marks
    y_low, y_high = min(y_marks[0], min(ys)), max(y_marks[-1], max(ys))
    x_marks = xs if log_x or (whole_x and len(xs) <= 12) else ticks(xs[0], xs[-1], 6)
    if whole_x and not log_x:
        x_marks = [mark for mark in x_marks if float(mark).is_integer()]
    scaled = [math.log2(mark) if log_x else mark for mark in (*xs, *x_marks)]
    x_low, x_high = min(scaled), max(scaled)

    def x(value: float) -> float:
        place = (math.log2(value) if log_x else value) - x_low
        return round(left + 14 + place / ((x_high - x_low) or 1) * (right - left - 28), 1)

    def y(value: float) -> float:
        return round(bottom - (value - y_low) / ((y_high - y_low) or 1) * (bottom - top), 1)

    parts = [_vertical_grid([(x(mark), _tick(mark, x_marks, False)) for mark in x_marks], top, bottom)]
    for mark in y_marks:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(mark)}" y2="{y(mark)}"/>')
        parts.append(_text(left - 8, y(mark) + 4, _tick(mark, y_marks, signed), "tick", "end"))
    if signed:
        parts.append(f'<line class="zero" x1="{left}" x2="{right}" y1="{y(0)}" y2="{y(0)}"/>')
    parts.append(_text(left - 8, 16, y_axis, "axis", "start"))
    parts.append(_text((left + right) / 2, bottom + 40, x_axis, "axis", "middle"))
    shift = 5.0 * (len(series) - 1) / 2
    for index, item in enumerate(series):
        offset = index * 5.0 - shift if any(point[2] is not None for point in item.points) else 0.0
        parts += _series(item, partial(_shifted, x, offset), y)
    rows = tuple(
        (item.name, f"{point[0]:g}", *(("-" if value is None else f"{value:.4f}") for value in point[1:]))
        for item in series
        for point in item.points
    )
    return Chart(
        title=title,
        caption=caption,
        svg=_svg(bottom + 50, title, parts),
        headers=("series", x_axis, y_axis, "low", "high"),
        rows=rows,
        legend=tuple((item.name, item.style, item.mark if not item.step else "line") for item in series),
    )


def _shifted(scale: Callable[[float], float], offset: float, value: float) -> float:
    return scale(value) + offset


def _series(item: Series, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    parts: list[str] = []
    points = [(x(point[0]), y(point[1])) for point in item.points]
    if item.line and len(points) > 1:
        path = f"M{points[0][0]} {points[0][1]}"
        for place in points[1:]:
            path += f"H{place[0]}V{place[1]}" if item.step else f"L{place[0]} {place[1]}"
        parts.append(f'<path class="path {item.style}" d="{path}"/>')
    if item.step:
        return parts
    for (_, _, low, high), (a, b) in zip(item.points, points, strict=True):
        if low is not None and high is not None:
            parts.append(f'<line class="interval thin {item.style}" x1="{a}" x2="{a}" y1="{y(low)}" y2="{y(high)}"/>')
        if item.mark == "square":
            parts.append(f'<rect class="filled {item.style}" x="{a - 4.5}" y="{b - 4.5}" width="9" height="9"/>')
        else:
            parts.append(f'<circle class="filled {item.style}" cx="{a}" cy="{b}" r="5"/>')
    return parts


def _cells(dot: Dot, signed: bool) -> tuple[str, str, str]:
    sign = "+" if signed else ""
    low, mean, high = ("-" if value is None else f"{value:{sign}.4f}" for value in (dot.low, dot.mean, dot.high))
    return (mean, low, high)


def _vertical_grid(marks: Sequence[tuple[float, str]], top: float, bottom: float) -> str:
    lines = [f'<line class="grid" x1="{place}" x2="{place}" y1="{top}" y2="{bottom}"/>' for place, _ in marks]
    return "".join([*lines, *(_text(place, bottom + 18, label, "tick", "middle") for place, label in marks)])


def _tick(value: float, marks: Sequence[float], signed: bool) -> str:
    if all(float(mark).is_integer() for mark in marks):
        return f"{value:+.0f}" if signed and value else f"{value:.0f}"
    gap = min((b - a for a, b in pairwise(marks)), default=0.1)
    digits = max(1, math.ceil(-math.log10(gap) - 1e-9)) if gap > 0 else 2
    return f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"


def _text(x: float, y: float, text: str, css: str, anchor: str, *, full: str | None = None) -> str:
    hover = f"<title>{escape(plain_text(full))}</title>" if full and full != text else ""
    place = f'class="{css}" x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(plain_text(text))}{hover}</text>"


def _diamond(x: float, y: float, css: str) -> str:
    return f'<path class="{css}" d="M{x - 6} {y}L{x} {y - 6}L{x + 6} {y}L{x} {y + 6}Z"/>'


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length // 2 - 1] + "\u2026" + text[-(length // 2) :]


def _svg(height: float, title: str, parts: Sequence[str]) -> Markup:
    label = escape(plain_text(title))
    body = "".join(parts)
    # Every text went through `escape`; the rest are numbers and class names of this module.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def critical_difference_chart(
    ranks: Mapping[str, float],
    critical_difference: float,
    *,
    title: str,
    caption: str,
    groups: Sequence[Sequence[str]] | None = None,
    quantity: str = "entrant",
) -> Chart:
    """Mean ranks on a line, the best to the left; a bar joins those that cannot be told apart (Demsar 2006, figure 1).

    Args:
        ranks: Name -> mean rank over the cells, in [1, k] for k names; three to ten are legible.
        critical_difference: Nemenyi's smallest difference of two mean ranks that is no chance at 5 %.
        title: Heading of the chart.
        caption: One sentence on how to read it.
        groups: Names to be joined by a bar each; by default the largest groups within the critical difference.
        quantity: Heading of the names in the table.

    Returns:
        The chart; its table says with whom each name is joined.
    """
    names = sorted(ranks, key=lambda name: (ranks[name], name))
    joined = (
        _within(ranks, names, critical_difference) if groups is None else [sorted(g, key=names.index) for g in groups]
    )
    bars = [group for group in joined if len(group) > 1]
    half = (len(names) + 1) // 2
    left, right, axis = _SIDE, WIDTH - _SIDE, 70
    first = axis + 24 + 13 * len(bars)
    last = max(2.0, len(names))

    def x(rank: float) -> float:
        return round(left + (rank - 1) / (last - 1) * (right - left), 1)

    parts = [f'<line class="path total" x1="{x(1)}" x2="{x(last)}" y1="{axis}" y2="{axis}"/>']
    for mark in range(1, math.floor(last) + 1):
        parts.append(f'<line class="path total" x1="{x(mark)}" x2="{x(mark)}" y1="{axis - 6}" y2="{axis}"/>')
        parts.append(_text(x(mark), axis - 12, str(mark), "tick", "middle"))
    # The ruler keeps the axis's scale; where it is longer than the axis, nothing can be told apart and it ends there.
    end = min(x(1 + critical_difference), x(last))
    parts.append(f'<line class="interval one" x1="{x(1)}" x2="{end}" y1="24" y2="24"/>')
    parts += [f'<line class="cap one" x1="{place}" x2="{place}" y1="19" y2="29"/>' for place in (x(1), end)]
    parts.append(_text(end + 10, 28, f"critical difference {critical_difference:.2f}", "value", "start"))
    for index, name in enumerate(names):
        on_left = index < half
        # Half a step apart, so that a line to the left never runs into one to the right.
        row = first + _STEP * (index if on_left else len(names) - index - 0.5)
        edge, anchor = (left - 12, "end") if on_left else (right + 12, "start")
        place = x(ranks[name])
        parts.append(f'<path class="path neutral" d="M{place} {axis}V{row}H{edge}"/>')
        parts.append(f'<circle class="filled neutral" cx="{place}" cy="{axis}" r="3.5"/>')
        shown = (f"{_shorten(name, 18)}", f"{ranks[name]:.2f}")
        shift = -6 if on_left else 6
        parts.append(
            _text(edge + shift, row + 4, "  ".join(shown if on_left else shown[::-1]), "label", anchor, full=name)
        )
    for index, group in enumerate(bars):
        y = axis + 14 + 13 * index
        low, high = x(ranks[group[0]]) - 5, x(ranks[group[-1]]) + 5
        parts.append(f'<line class="bar interval total" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
    rows = tuple(
        (
            name,
            f"{ranks[name]:.3f}",
            ", ".join(other for other in names if other != name and any({name, other} <= set(bar) for bar in bars))
            or "-",
        )
        for name in names
    )
    return Chart(
        title=title,
        caption=caption,
        svg=_svg(first + _STEP * half + 14, title, parts),
        headers=(quantity, "mean rank", "cannot be told apart from"),
        rows=rows,
    )


def _within(ranks: Mapping[str, float], names: Sequence[str], width: float) -> list[list[str]]:
    """The runs of sorted names whose ranks lie less than `width` apart, none inside another."""
    found: list[list[str]] = []
    for start, name in enumerate(names):
        group = [other for other in names[start:] if ranks[other] - ranks[name] < width]
        if not found or group[-1] != found[-1][-1]:
            found.append(group)
    return found
