"""Which tasks write to the same entries: proved apart, or counted."""

from collections.abc import Sequence

from dashboard.plots.figure import Figure, written
from dashboard.plots.maps import CLEAR, LABELLED, cells, layer, make_map


def overlaps(
    tasks: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    proved: Sequence[Sequence[bool]],
) -> Figure:
    """A square map: the share of a row's entries that the column's task writes to as well.

    Args:
        tasks: names, all different.
        shares: fractions; None was not counted. The diagonal says nothing and is left blank.
        proved: where a certificate proves that none is shared: drawn in a colour of its own.
    """
    counted: list[list[float | None]] = []
    certain: list[list[int | None]] = []
    unknown: list[list[int | None]] = []
    itself: list[list[int | None]] = []
    for row, line in enumerate(shares):
        sure = [proved[row][column] and row != column for column in range(len(line))]
        counted.append(
            [
                None if share is None or sure[column] or row == column else round(100 * share, 2)
                for column, share in enumerate(line)
            ]
        )
        certain.append([1 if each else None for each in sure])
        itself.append([1 if row == column else None for column in range(len(line))])
        unknown.append(
            [
                1 if share is None and not sure[column] and row != column else None
                for column, share in enumerate(line)
            ]
        )
    texts = None
    if len(tasks) <= LABELLED:
        texts = [["" if share is None else written(share, 1) for share in line] for line in counted]
    pair = "<b>%{y}</b> and <b>%{x}</b><br>"
    return make_map(
        tasks,
        tasks,
        [
            cells(tasks, tasks, counted, texts, f"{pair}%{{z:.2f}} % of its entries, counted"),
            layer(tasks, tasks, certain, "@proved-soft", f"{pair}none shared, proved", "0"),
            layer(tasks, tasks, itself, "@track", None),
            layer(tasks, tasks, unknown, CLEAR, f"{pair}not counted"),
        ],
        scale="@scores",
        low=0,
        high=100,
        title="shared, %",
    )
