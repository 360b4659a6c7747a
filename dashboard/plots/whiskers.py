"""Differences one beneath the other: a dot and its interval each, about a marked zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.plots.figure import Figure, make_figure, name_axis, number_axis, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference, as a fraction."""

    name: str
    value: float | None
    """None is undefined: the name stands there without a dot."""
    low: float | None = None
    high: float | None = None
    proved: bool = False
    same_bits: bool = False
    """Of one adapter, by digest, which no certificate covers."""


def differences(rows: Sequence[Difference], *, x: str) -> Figure:
    """Dots with intervals, in points, the first row on top; proved ones are squares without one.

    Those of the same bits are neutral: neither proved nor compared.
    """
    zero = {
        "type": "line", "xref": "x", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": "@zero", "width": 1}, "layer": "below",
    }  # fmt: skip
    measured = [row for row in rows if not row.proved and not row.same_bits]
    same = [row for row in rows if row.same_bits]
    proved = [row for row in rows if row.proved]
    names = [row.name for row in rows]
    return make_figure(
        [
            trace
            for trace in (
                _measured(measured),
                _measured(same, "same bits", "@zero"),
                _proved(proved),
            )
            if trace["x"]
        ],
        {
            "xaxis": number_axis(x),
            "yaxis": name_axis(names)
            | {"autorange": "reversed", "categoryorder": "array", "categoryarray": names},
            "shapes": [zero],
            "showlegend": sum(map(bool, (measured, same, proved))) > 1,
        },
    )


def _measured(
    rows: Sequence[Difference], name: str = "measured", colour: str = "@line-1"
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "mode": "markers",
        "x": [_points(row.value) for row in rows],
        "y": [row.name for row in rows],
        "marker": {"color": colour, "size": 8},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_apart(row.high, row.value) for row in rows],
            "arrayminus": [_apart(row.value, row.low) for row in rows],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        "customdata": [_interval(row) for row in rows],
        "hovertemplate": "<b>%{y}</b><br>%{x:+.2f} %{customdata}<extra></extra>",
    }


def _proved(rows: Sequence[Difference]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "proved",
        "mode": "markers",
        "x": [_points(row.value) for row in rows],
        "y": [row.name for row in rows],
        "marker": {"color": "@proved", "size": 9, "symbol": "square"},
        "hovertemplate": "<b>%{y}</b><br>%{x:.2f}, proved<extra></extra>",
    }


def _interval(row: Difference) -> str:
    if row.low is None or row.high is None:
        return ""
    low, high = (written(100 * end, 2, sign=True) for end in (row.low, row.high))
    return f"[{low}, {high}]"


def _points(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _apart(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else round(100 * (upper - lower), 4)
