"""What all maps of cells share: cells with their numbers, and layers for what has none."""

from collections.abc import Sequence
from typing import Any

from dashboard.plots.figure import Figure, colour_bar, hatched, make_figure, name_axis

Values = Sequence[Sequence[float | None]]
Texts = Sequence[Sequence[str]]

LABELLED = 26
"""Rows and columns up to which a cell holds its number."""

CLEAR = "rgba(0,0,0,0)"
"""Colour of a layer that is pointed at and not seen: the hatching shows through."""

GAPPED = 40
"""Rows and columns up to which cells stand apart."""


def cells(
    rows: Sequence[str], columns: Sequence[str], values: Values, texts: Texts | None, told: str
) -> dict[str, Any]:
    """The cells that have a value, coloured by the figure's scale; the others are left out.

    Args:
        rows: names, the first on top.
        columns: names.
        values: None has no cell.
        texts: what stands in each cell; None where they are too small.
        told: what is said of a cell that is pointed at.
    """
    gap = _gap(rows, columns)
    known: dict[str, Any] = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(rows),
        "z": [list(row) for row in values],
        "coloraxis": "coloraxis",
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
        "hovertemplate": f"{told}<extra></extra>",
    }
    if texts is not None:
        known |= {"text": [list(row) for row in texts], "texttemplate": "%{text}"}
    return known


def layer(
    rows: Sequence[str],
    columns: Sequence[str],
    where: Sequence[Sequence[int | None]],
    colour: str,
    told: str | None,
    text: str | None = None,
) -> dict[str, Any]:
    """Cells of one colour, wherever `where` is 1; nothing is said of them when `told` is None."""
    gap = _gap(rows, columns)
    made: dict[str, Any] = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(rows),
        "z": [list(row) for row in where],
        "zmin": 0,
        "zmax": 1,
        "colorscale": _flat(colour),
        "showscale": False,
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
        "hoverinfo": "skip",
    }
    if told is not None:
        del made["hoverinfo"]
        made["hovertemplate"] = f"{told}<extra></extra>"
    if text is not None and max(len(rows), len(columns)) <= LABELLED:
        made["text"] = [["" if each is None else text for each in row] for row in where]
        made["texttemplate"] = "%{text}"
        made["textfont"] = {"color": "@ink-strong", "size": 12}
    return made


def make_map(
    rows: Sequence[str],
    columns: Sequence[str],
    layers: Sequence[dict[str, Any]],
    *,
    scale: str,
    low: float,
    high: float,
    title: str,
    shapes: Sequence[dict[str, Any]] = (),
) -> Figure:
    """A map with the first row on top and its columns named above; layers without a cell are left out."""
    shown = [each for each in layers if any(z is not None for row in each["z"] for z in row)]
    tall = name_axis(rows, 40) | {"autorange": "reversed"}
    wide = name_axis(columns, 40) | {"side": "top", "tickangle": 0 if len(columns) <= 6 else -45}
    return make_figure(
        [*_ground(rows, columns, shown), *shown],
        {
            "xaxis": wide,
            "yaxis": tall,
            "coloraxis": {
                "colorscale": scale,
                "cmin": low,
                "cmax": high,
                "colorbar": colour_bar(title),
            },
            "images": [hatched()],
            "shapes": list(shapes),
            "showlegend": False,
        },
    )


def _ground(
    rows: Sequence[str], columns: Sequence[str], layers: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What lies beneath cells that stand apart: hatching shows for a missing cell, never between two."""
    if not _gap(rows, columns):
        return []
    seen = [each["z"] for each in layers if each.get("colorscale") != _flat(CLEAR)]
    where = [
        [
            1 if any(z[row][column] is not None for z in seen) else None
            for column in range(len(columns))
        ]
        for row in range(len(rows))
    ]
    return [layer(rows, columns, where, "@ground", None) | {"xgap": 0, "ygap": 0}]


def _flat(colour: str) -> list[list[object]]:
    return [[0, colour], [1, colour]]


def _gap(rows: Sequence[str], columns: Sequence[str]) -> int:
    return 2 if max(len(rows), len(columns)) <= GAPPED else 0
