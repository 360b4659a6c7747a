"""Bars of capacity: what is used, what is planned for, what is free, of each group of matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.plots.figure import Figure, make_figure, name_axis, number_axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """One group's entries of B."""

    name: str
    used: int
    planned: int
    """Not used yet, and meant for tasks that were declared."""
    free: int
    """Neither used nor planned for."""


def capacity(groups: Sequence[Capacity]) -> Figure:
    """One bar a group, in percent of its entries, the first on top."""
    parts = (
        ("used", [group.used for group in groups], {"color": "@line-1"}),
        (
            "planned",
            [group.planned for group in groups],
            {
                "color": "@line-1/0.25",
                "pattern": {"shape": "/", "size": 5, "solidity": 0.3, "fgcolor": "@line-1"},
            },
        ),
        ("free", [group.free for group in groups], {"color": "@track"}),
    )
    names = [group.name for group in groups]
    wholes = [max(1, group.used + group.planned + group.free) for group in groups]
    return make_figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": [
                    round(100 * count / whole, 3)
                    for count, whole in zip(counts, wholes, strict=True)
                ],
                "y": names,
                "customdata": counts,
                "marker": {"line": {"width": 0}, **marker},
                "hovertemplate": f"<b>%{{y}}</b><br>{name} %{{x:.1f}} %, "
                "%{customdata:,} entries<extra></extra>",
            }
            for name, counts, marker in parts
            if name != "planned" or any(counts)
        ],
        {
            "barmode": "stack",
            "bargap": 0.45,
            "xaxis": number_axis("share of entries, %")
            | {"range": [0, 100], "tickvals": [0, 25, 50, 75, 100]},
            "yaxis": name_axis(names) | {"autorange": "reversed"},
            "showlegend": True,
        },
    )
