"""Losses over the steps of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from dashboard.plots.figure import LINES, Figure, make_figure, number_axis

T = TypeVar("T")

MOST = 1000
"""Points a line is drawn with; a longer one is thinned, its last point kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLine:
    """The loss of one phase."""

    name: str
    steps: tuple[int, ...]
    losses: tuple[float | None, ...]
    """None where it was no number."""


def losses(lines: Sequence[LossLine]) -> Figure:
    """One line a phase."""
    return make_figure(
        [
            {
                "type": "scatter",
                "mode": "lines+markers" if len(line.steps) <= 20 else "lines",
                "name": line.name,
                "x": _thin(line.steps),
                "y": _thin(line.losses),
                "line": {"color": LINES[place % len(LINES)], "width": 2},
                "marker": {"color": LINES[place % len(LINES)], "size": 6},
                "connectgaps": False,
                "hovertemplate": f"<b>{line.name}</b>, step %{{x}}<br>loss %{{y:.4f}}<extra></extra>",
            }
            for place, line in enumerate(lines)
        ],
        {
            "xaxis": number_axis("step") | {"showgrid": False, "rangemode": "tozero"},
            "yaxis": number_axis("loss") | {"rangemode": "tozero"},
            "showlegend": True,
        },
    )


def _thin(values: Sequence[T]) -> list[T]:
    step = max(1, -(-len(values) // MOST))
    kept = list(values[::step])
    return kept if (len(values) - 1) % step == 0 else [*kept, values[-1]]
