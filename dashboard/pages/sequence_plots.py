"""The plots of a sequence's page, out of its view."""

from collections.abc import Callable, Sequence

from dashboard.plots import heat_map
from dashboard.plots.bars import Capacity, capacity
from dashboard.plots.curves import Line, Point, curves
from dashboard.plots.figure import Figure
from dashboard.plots.overlaps import overlaps
from registry.capacity_view import CapacityGroup
from registry.matrix_view import MatrixMap
from registry.overlaps import OverlapsView
from registry.score_changes import NotComparable
from registry.score_curves import Mean, VersionFigures
from registry.sequence_records import TaskGap

Pick = Callable[[VersionFigures], Mean | None]


def score_map(whole: MatrixMap) -> Figure:
    """All of R as scores."""
    return heat_map.scores(whole.rows, whole.columns, whole.scores, own=whole.own)


def change_map(whole: MatrixMap) -> Figure:
    """All of R as changes since each task was learned."""
    return heat_map.changes(
        whole.rows, whole.columns, whole.changes, own=whole.own, measured=whole.scores
    )


def accuracies(figures: Sequence[VersionFigures]) -> Figure:
    """What the learned tasks score now, and what each scored just after it was learned."""
    return curves(
        [
            *_lines("average accuracy", figures, lambda each: each.average),
            *_lines("learning accuracy", figures, lambda each: each.learning),
        ],
        x="version",
        y="score, %",
    )


def losses(figures: Sequence[VersionFigures]) -> Figure:
    """Forgetting and forward transfer at each version."""
    return curves(
        [
            *_lines("forgetting", figures, lambda each: each.forgetting),
            *_lines("forward transfer", figures, lambda each: each.forward),
        ],
        x="version",
        y="points",
        change=True,
    )


def gaps(found: Sequence[tuple[float, TaskGap]]) -> Figure:
    """How far each task stays behind what it reached alone, against the room that was left for it."""
    ordered = sorted(found, key=lambda each: -each[0])
    points = tuple(
        Point(
            x=round(100 * left, 2),
            value=gap.change.value,
            low=gap.change.low,
            high=gap.change.high,
            n=gap.change.n,
        )
        for left, gap in ordered
        if not isinstance(gap.change, NotComparable)
    )
    return curves(
        [Line(name="gap", points=points)],
        x="entries of B that nobody owned when it was learned, %",
        y="here less alone, points",
        change=True,
    )


def capacity_bars(groups: Sequence[CapacityGroup]) -> Figure:
    """One bar for each group of matrices."""
    return capacity(
        [
            Capacity(name=each.name, used=each.used, planned=each.planned, free=each.free)
            for each in groups
        ]
    )


def overlap_map(view: OverlapsView) -> Figure:
    """What share of a row's entries the column's task writes too."""
    place = {task: at for at, task in enumerate(view.tasks)}
    count = len(view.tasks)
    shares: list[list[float | None]] = [[None] * count for _ in range(count)]
    proved = [[False] * count for _ in range(count)]
    for pair in view.pairs:
        a, b = place[pair.earlier], place[pair.later]
        for row, column in ((a, b), (b, a)):
            proved[row][column] = pair.proved
            if pair.entries is not None and view.entries[row]:
                shares[row][column] = pair.entries / view.entries[row]
    return overlaps(view.tasks, shares, proved)


def _lines(name: str, figures: Sequence[VersionFigures], pick: Pick) -> list[Line]:
    """One curve; its proved points and its measured ones are two, each with gaps for the other."""
    made = [Point(x=each.version, value=None) for each in figures]
    proved, measured = list(made), list(made)
    for at, each in enumerate(figures):
        mean = pick(each)
        if mean is None:
            continue
        point = Point(x=each.version, value=mean.value, low=mean.low, high=mean.high)
        (proved if mean.basis == "proved" else measured)[at] = point
    lines = []
    if any(point.value is not None for point in measured):
        lines.append(Line(name=name, points=tuple(measured)))
    if any(point.value is not None for point in proved):
        lines.append(Line(name=name, points=tuple(proved), proved=True))
    return lines
