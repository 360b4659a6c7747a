"""What all figures share: axes, fonts, margins, and colours by the name of their role.

A colour is written `@name`, or `@name/0.2` for a part of its strength, and a scale of colours `@name` too:
the style sheet holds `--plot-name` for light and for dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Figure = dict[str, Any]
"""`{"data": [...], "layout": {...}}`, as plotly.js takes it, once the roles are colours."""

LINES = tuple(f"@line-{number}" for number in range(1, 9))
"""Colours of lines, in order; told apart by colour-blind eyes too."""

LONGEST_LABEL = 22
MINUS = "\N{MINUS SIGN}"


def make_figure(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> Figure:
    """A figure in the look of this house."""
    return {
        "data": [dict(trace) for trace in traces],
        "layout": {
            "font": {"family": "@font", "size": 12, "color": "@ink"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 4, "r": 14, "t": 8, "b": 4},
            "hoverlabel": {
                "bgcolor": "@paper",
                "bordercolor": "@edge",
                "font": {"family": "@font", "size": 12, "color": "@ink-strong"},
                "align": "left",
            },
            "dragmode": False,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "bgcolor": "rgba(0,0,0,0)",
                "traceorder": "normal",
                "itemclick": False,
                "itemdoubleclick": False,
            },
            **layout,
        },
    }


def number_axis(title: str) -> dict[str, Any]:
    """An axis of numbers with a faint grid."""
    return {
        "title": axis_title(title),
        "gridcolor": "@grid",
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "ticklabelstandoff": 4,
        "automargin": True,
        "fixedrange": True,
    }


def name_axis(names: Sequence[str], most: int = 60) -> dict[str, Any]:
    """An axis of names, long ones cut, of which at most `most` are written."""
    step = max(1, -(-len(names) // most))
    told = list(names[::step])
    return {
        "type": "category",
        "tickmode": "array",
        "tickvals": told,
        "ticktext": short_labels(told),
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "ticklabelstandoff": 6,
        "automargin": True,
        "fixedrange": True,
    }


def axis_title(text: str) -> dict[str, Any]:
    """What an axis shows, in small letters."""
    return {"text": text, "standoff": 10, "font": {"size": 12, "color": "@ink-faint"}}


def short_labels(names: Sequence[str]) -> list[str]:
    """Names cut to what fits beside an axis: to their ends where their beginnings are the same."""
    keep = LONGEST_LABEL - 1
    heads = [name if len(name) <= LONGEST_LABEL else f"{name[:keep]}…" for name in names]
    if len(set(heads)) == len(set(names)):
        return heads
    return [name if len(name) <= LONGEST_LABEL else f"…{name[-keep:]}" for name in names]


def colour_bar(title: str) -> dict[str, Any]:
    """The key of a colour scale, slim, at the right."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": 11, "color": "@ink-faint"}},
        "thickness": 8,
        "len": 1,
        "xpad": 16,
        "ypad": 0,
        "outlinewidth": 0,
        "ticks": "",
        "tickfont": {"size": 11, "color": "@ink-faint"},
        "nticks": 5,
    }


def hatched() -> dict[str, Any]:
    """What shows through wherever a map has no cell: not a colour of any scale."""
    return {
        "source": "@hatch",
        "xref": "x domain",
        "yref": "y domain",
        "x": 0,
        "y": 1,
        "sizex": 1,
        "sizey": 1,
        "sizing": "stretch",
        "layer": "below",
    }


def written(value: float, digits: int, *, sign: bool = False) -> str:
    """A number with a true minus; what rounds to zero has no sign."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)
