"""Heat maps of R: scores in one hue, changes in two with a neutral zero; what is missing is never a colour
of either scale.
"""

from collections.abc import Sequence
from typing import Any

from dashboard.plots.figure import Figure, written
from dashboard.plots.maps import CLEAR, GAPPED, LABELLED, Values, cells, layer, make_map

LARGEST = 201
"""Rows or columns that are drawn one by one (200 tasks, and the base's row); beyond, neighbours share a bin."""


def scores(
    rows: Sequence[str], columns: Sequence[str], values: Values, *, own: Sequence[int | None] = ()
) -> Figure:
    """Scores in percent, from 0 to 100.

    Args:
        rows: one name a row, all different (`base`, `1 safety`).
        columns: one name a column, all different.
        values: fractions; None was not measured.
        own: of each row, the column of the task learned there, which is outlined; None for the base.
    """
    return _map(
        rows, columns, values, own, sign=False, title="score, %",
        scale="@scores", low=0.0, high=100.0,
    )  # fmt: skip


def changes(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Values,
    *,
    own: Sequence[int | None] = (),
    measured: Values = (),
) -> Figure:
    """Changes in points around a neutral zero: losses to one side, gains to the other.

    Args:
        rows: one name a row, all different.
        columns: one name a column, all different.
        values: fractions; None has no change.
        own: as of `scores`.
        measured: the scores: where there is one and no change, none is defined, and that is said.
    """
    most = max([1.0, *(abs(100 * value) for row in values for value in row if value is not None)])
    return _map(
        rows, columns, values, own, sign=True, title="change, points",
        scale="@changes", low=-most, high=most, measured=measured,
    )  # fmt: skip


def _map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Values,
    own: Sequence[int | None],
    *,
    sign: bool,
    title: str,
    scale: str,
    low: float,
    high: float,
    measured: Values = (),
) -> Figure:
    each = max(_per_bin(len(rows)), _per_bin(len(columns)))
    if each > 1:
        rows, columns, values = _binned(rows, columns, values, each)
        own = ()
        title = f"{title}; means of {each} by {each}"
    percents = [
        [None if value is None else round(100 * value, 2) for value in row] for row in values
    ]
    texts = None
    said = "%{z:+.2f}" if sign else "%{z:.1f}"
    if max(len(rows), len(columns)) <= LABELLED:
        texts = [
            ["" if value is None else written(value, 1, sign=sign) for value in row]
            for row in percents
        ]
    place = "after <b>%{y}</b><br>on <b>%{x}</b><br>"
    nothing = []
    if max(len(rows), len(columns)) <= GAPPED:  # beyond, the hatching alone says so
        known = measured or [[None] * len(columns)] * len(rows)
        for there, word in ((False, "not measured"), (True, "no change is defined")):
            holes = [
                [
                    1 if value is None and (score is not None) == there else None
                    for value, score in zip(row, scored, strict=True)
                ]
                for row, scored in zip(percents, known, strict=True)
            ]
            if not there or any(any(row) for row in holes):
                nothing.append(layer(rows, columns, holes, CLEAR, f"{place}{word}"))
    return make_map(
        rows,
        columns,
        [cells(rows, columns, percents, texts, place + said), *nothing],
        scale=scale,
        low=low,
        high=high,
        title=title,
        shapes=_outlines(own),
    )


def _outlines(own: Sequence[int | None]) -> list[dict[str, Any]]:
    """One path around each row's own cell."""
    squares = [
        f"M{column - 0.5},{row - 0.5}L{column + 0.5},{row - 0.5}"
        f"L{column + 0.5},{row + 0.5}L{column - 0.5},{row + 0.5}Z"
        for row, column in enumerate(own)
        if column is not None
    ]
    if not squares:
        return []
    line = {"color": "@own", "width": 2 if len(squares) <= 40 else 1}
    return [{"type": "path", "path": "".join(squares), "line": line, "xref": "x", "yref": "y"}]


def _per_bin(count: int) -> int:
    return -(-count // LARGEST)


def _binned(
    rows: Sequence[str], columns: Sequence[str], values: Values, each: int
) -> tuple[list[str], list[str], list[list[float | None]]]:
    """The mean of each block over what was measured in it; a block without any stays missing."""
    blocks: list[list[float | None]] = []
    for top in range(0, len(rows), each):
        line: list[float | None] = []
        for left in range(0, len(columns), each):
            known = [
                value
                for row in values[top : top + each]
                for value in row[left : left + each]
                if value is not None
            ]
            line.append(sum(known) / len(known) if known else None)
        blocks.append(line)
    return _bin_names(rows, each), _bin_names(columns, each), blocks


def _bin_names(names: Sequence[str], each: int) -> list[str]:
    bins = (names[start : start + each] for start in range(0, len(names), each))
    return [own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}" for own in bins]
