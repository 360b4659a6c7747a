"""Tasks of a sequence, each in one line: what it gained, what it kept, and how that is known."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import decided
from registry.matrix_view import Score, score_at
from registry.models import Sequence as SequenceRow
from registry.models import Task
from registry.score_changes import Alone, Change, Comparing, NotComparable, Spot
from registry.score_grid import ScoreGrid
from registry.sequence_records import Loss, TaskGap, TaskLine
from registry.succession import KEY
from registry.task_references import task_references


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTask:
    """A task as its sequence declares it, in a few columns."""

    name: str
    metric: str
    sparsity: float | None
    """Its own."""
    supersedes: str | None


def declared_tasks(session: Session, sequence_id: int) -> list[DeclaredTask]:
    """Every declared task, in order."""
    rows = session.execute(
        select(
            Task.name,
            Task.config["metric"].as_string(),
            Task.config["sparsity"].as_float(),
            Task.config[KEY].as_string(),
        )
        .where(Task.sequence_id == sequence_id)
        .order_by(Task.position)
    )
    return [
        DeclaredTask(name=name, metric=metric or "", sparsity=sparsity, supersedes=older)
        for name, metric, sparsity, older in rows
    ]


def task_lines(
    session: Session,
    owner: SequenceRow,
    tasks: Sequence[DeclaredTask],
    columns: Sequence[str],
    comparing: Comparing,
    left: Sequence[float],
    newest: int,
) -> tuple[TaskLine, ...]:
    """The window's tasks; every pair of cells that is compared is asked for at once.

    `newest` is the newest filed version: what was measured above it is no figure of a task.
    """
    grid = comparing.grid
    place = {task.name: position for position, task in enumerate(tasks, start=1)}
    retired = decided.retired_tasks(session, owner)
    newer = {task.supersedes: task.name for task in tasks if task.supersedes}
    best = {task: _best(grid, place[task], newest) for task in columns if place[task] < newest}
    learned = [place[task] for task in columns if place[task] <= newest]
    pairs: list[tuple[Spot, Spot]] = [((0, i), (i, i)) for i in learned]
    pairs += [((0, i), (i - 1, i)) for i in learned if i > 1]
    pairs += [((at, place[task]), (newest, place[task])) for task, at in best.items() if at]
    found = comparing.changes(pairs)
    references = {
        (place[task], place[task]): reference
        for task, reference in task_references(session, owner, columns).items()
        if place[task] in learned
    }
    gaps = comparing.against(references)
    lines = []
    for task in columns:
        i = place[task]
        at = best.get(task)
        lost = None if at is None else found.get(((at, i), (newest, i)))
        lines.append(
            TaskLine(
                position=i,
                task=task,
                metric=tasks[i - 1].metric,
                learned=i <= newest,
                retired=retired.get(task),
                superseded_by=newer.get(task),
                base=score_at(grid, 0, i),
                own=score_at(grid, i, i),
                now=score_at(grid, newest, i) if i <= newest else None,
                gain=found.get(((0, i), (i, i))),
                ahead=found.get(((0, i), (i - 1, i))) if i > 1 else None,
                lost=None
                if at is None or lost is None
                else Loss(task=task, position=i, best_at=at, change=lost.turned),
                gap=_gap(references[i, i], gaps[i, i]) if (i, i) in gaps else None,
                left_before=_left_before(left, i),
            )
        )
    return tuple(lines)


def _best(grid: ScoreGrid, position: int, newest: int) -> int | None:
    """The first version at which a task was at its best, from its own to the one before the newest."""
    scores = [
        (score, -version)
        for version in range(position, newest)
        if (score := grid.score(version, position)) is not None
    ]
    return -max(scores)[1] if scores else None


def _gap(alone: Alone, change: Change | NotComparable) -> TaskGap:
    cell = alone.scored.cell
    return TaskGap(
        sequence=alone.sequence,
        version=cell.version,
        alone=Score(value=cell.value, low=alone.scored.low, high=alone.scored.high, n=cell.n),
        change=change,
    )


def _left_before(left: Sequence[float], position: int) -> float | None:
    """The share of B that was free when a task was learned; None where nothing is owned."""
    before = (1.0, *left) if left else ()
    return before[position - 1] if position <= len(before) else None
