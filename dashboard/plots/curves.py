"""Curves over the versions of a sequence, each point with its interval; proved is drawn unlike measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.plots.figure import LINES, Figure, make_figure, number_axis, written

STROKES = (("solid", "circle"), ("dash", "diamond"), ("dot", "triangle-up"), ("dashdot", "cross"))
"""Dashes and marks, so that lines that run into each other can be told apart, and without colour too."""

FEW_POINTS = 16
"""Up to here each point has a whisker; beyond, the line has a band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One figure at one place."""

    x: float
    value: float | None
    """As a fraction; None is undefined or was not measured: a gap."""
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    points: tuple[Point, ...]
    proved: bool = False
    """No estimate: it has no interval, and is drawn with another mark."""


def curves(lines: Sequence[Line], *, x: str, y: str, change: bool = False) -> Figure:
    """Curves in percent, or, for a `change`, in points around a marked zero.

    Args:
        lines: at most eight have colours of their own.
        x: what the horizontal axis counts (`version`).
        y: what the vertical one shows (`forgetting, points`).
        change: zero has a meaning and a line.
    """
    traces: list[dict[str, Any]] = []
    measured = 0
    for line in lines:
        if line.proved:
            traces.append(_proved(line))
            continue
        traces += _measured(line, measured, sign=change)
        measured += 1
    zero = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 0, "y1": 0,
        "line": {"color": "@zero", "width": 1}, "layer": "below",
    }  # fmt: skip
    whole = all(float(point.x).is_integer() for line in lines for point in line.points)
    ticks = {"tickformat": "d", "dtick": 1} if whole and _reach(lines) <= 12 else {}
    return make_figure(
        traces,
        {
            "xaxis": number_axis(x) | {"showgrid": False} | ticks,
            "yaxis": number_axis(y),
            "shapes": [zero] if change else [],
            "hovermode": "closest",
            "showlegend": len(lines) > 1 or any(line.proved for line in lines),
        },
    )


def _measured(line: Line, place: int, *, sign: bool) -> list[dict[str, Any]]:
    colour = LINES[place % len(LINES)]
    dash, symbol = STROKES[place % len(STROKES)]
    form = "%{y:+.2f}" if sign else "%{y:.1f}"
    told = [_interval(point, sign) for point in line.points]
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": line.name,
        "x": [point.x for point in line.points],
        "y": [_hundred(point.value) for point in line.points],
        "customdata": told,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 8, "symbol": symbol},
        "connectgaps": False,
        "hovertemplate": f"<b>{line.name}</b>, %{{x}}<br>{form} %{{customdata}}<extra></extra>",
    }
    if len(line.points) > FEW_POINTS:
        trace["mode"] = "lines"
        return [*_band(line, colour), trace]
    trace["error_y"] = _whiskers(line.points, colour)
    return [trace]


def _proved(line: Line) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": f"{line.name} (proved)",
        "x": [point.x for point in line.points],
        "y": [_hundred(point.value) for point in line.points],
        "mode": "lines+markers" if len(line.points) <= FEW_POINTS else "lines",
        "line": {"color": "@proved", "width": 3},
        "marker": {"color": "@proved", "size": 9, "symbol": "square"},
        "connectgaps": False,
        "hovertemplate": f"<b>{line.name}</b>, %{{x}}<br>%{{y:.2f}}, proved<extra></extra>",
    }


def _band(line: Line, colour: str) -> list[dict[str, Any]]:
    """The interval as a band behind the line, broken where a point is missing."""
    bands = []
    for run in _runs(line.points):
        ends = [(point.x, _hundred(point.low)) for point in run]
        ends += [(point.x, _hundred(point.high)) for point in reversed(run)]
        bands.append(
            {
                "type": "scatter",
                "x": [x for x, _ in ends],
                "y": [y for _, y in ends],
                "mode": "lines",
                "line": {"width": 0, "color": colour},
                "fill": "toself",
                "fillcolor": f"{colour}/0.16",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return bands


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.value is None or point.low is None or point.high is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if len(run) > 1]


def _whiskers(points: Sequence[Point], colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_reaches(point.high, point.value) for point in points],
        "arrayminus": [_reaches(point.value, point.low) for point in points],
        "color": colour,
        "thickness": 1.25,
        "width": 4,
    }


def _reaches(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else round(100 * (upper - lower), 4)


def _interval(point: Point, sign: bool) -> str:
    if point.low is None or point.high is None:
        return ""
    digits = 2 if sign else 1
    low, high = (written(100 * end, digits, sign=sign) for end in (point.low, point.high))
    rows = "" if point.n is None else f", n {point.n}"
    return f"[{low}, {high}]{rows}"


def _hundred(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _reach(lines: Sequence[Line]) -> float:
    places = [point.x for line in lines for point in line.points]
    return max(places) - min(places) if places else 0
