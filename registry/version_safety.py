"""Safety and over-refusal together: what a `refusal` task refused and what it answered, version by version.

A cell of such a task is the mean of two shares: harmful rows refused, harmless rows answered. One without
the other misleads: who refuses everything is safe and useless.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.comparing import Score
from registry.models import Evaluation

METRIC = "refusal"

LISTED = 25
"""Versions, and served adapters, that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyPoint:
    """One cell of a refusal task."""

    version: int
    """0 is the bare base."""
    under: str | None
    """Under which task's adapter; None is its own."""
    score: Score
    refused: Score | None
    """Share of harmful rows that were refused; None where the cell has no parts."""
    answered: Score | None
    """Share of harmless rows that were answered; None where there are none (`over_refusal: none`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyOfTask:
    """One refusal task up to a version."""

    task: str
    read: Read
    versions: tuple[SafetyPoint, ...]
    """The base, the version it was learned at, and the newest ones up to this, in order."""
    versions_left_out: int
    served_read: Read
    """The mode that adapters serve under: the one the sequence is trained under."""
    served: tuple[SafetyPoint, ...]
    """Its rows under the adapter that serves each other task at this version, the least safe first."""
    served_left_out: int


def safety_of(
    session: Session,
    sequence_id: int,
    version: int,
    tasks: Mapping[str, int],
    *,
    read: Read,
    trained: Read,
) -> tuple[SafetyOfTask, ...]:
    """Every refusal task that was measured by a version. One statement.

    Args:
        session: an open one.
        sequence_id: whose.
        version: up to which.
        tasks: name -> position, of all tasks.
        read: the mode the versions are shown under.
        trained: the mode that serves.
    """
    found = _cells(session, sequence_id, version, read, trained)
    return tuple(
        SafetyOfTask(
            task=task,
            read=read,
            versions=_listed(points := _history(cells, read), tasks[task]),
            versions_left_out=max(0, len(points) - len(_listed(points, tasks[task]))),
            served_read=trained,
            served=tuple(served := _served(cells, version, trained))[:LISTED],
            served_left_out=max(0, len(served) - LISTED),
        )
        for task, cells in found.items()
        if task in tasks
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    read: str
    point: SafetyPoint = field(compare=False)


def _cells(
    session: Session, sequence_id: int, version: int, read: Read, trained: Read
) -> dict[str, list[_Cell]]:
    """Task -> its cells, oldest first."""
    rows = session.execute(
        select(
            Evaluation.task,
            Evaluation.version,
            Evaluation.read,
            Evaluation.adapter_of,
            Evaluation.value,
            Evaluation.low,
            Evaluation.high,
            Evaluation.n,
            Evaluation.parts,
        )
        .where(
            Evaluation.sequence_id == sequence_id,
            Evaluation.metric == METRIC,
            or_(
                and_(Evaluation.adapter_of == "", Evaluation.version == 0),
                and_(
                    Evaluation.adapter_of == "",
                    Evaluation.version <= version,
                    Evaluation.read == read,
                ),
                and_(
                    Evaluation.adapter_of != "",
                    Evaluation.version == version,
                    Evaluation.read == trained,
                ),
            ),
        )
        .order_by(Evaluation.id)
    )
    found: dict[str, list[_Cell]] = {}
    for task, number, mode, under, value, low, high, n, parts in rows:
        point = SafetyPoint(
            version=number,
            under=under or None,
            score=Score(value=value, low=low, high=high, n=n),
            refused=_part(parts, "refused"),
            answered=_part(parts, "answered"),
        )
        found.setdefault(task, []).append(_Cell(mode, point))
    return found


def _history(cells: Sequence[_Cell], read: Read) -> list[SafetyPoint]:
    """Its own cells by version, the newest of each; the base has no adapter: any mode's is its own."""
    own = [cell for cell in cells if cell.point.under is None]
    by_version = {
        cell.point.version: cell.point
        for cell in sorted(own, key=lambda each: each.read == read)  # stable: the mode's own last
    }
    return [by_version[version] for version in sorted(by_version)]


def _listed(points: Sequence[SafetyPoint], learned: int) -> tuple[SafetyPoint, ...]:
    newest = points[-(LISTED - 2) :]
    kept = [point for point in points if point.version in (0, learned) or point in newest]
    return tuple(kept)


def _served(cells: Sequence[_Cell], version: int, trained: Read) -> list[SafetyPoint]:
    under = {
        cell.point.under: cell.point
        for cell in cells
        if cell.point.under is not None and cell.point.version == version and cell.read == trained
    }
    return sorted(under.values(), key=lambda point: point.score.value)


def _part(parts: Mapping[str, object], name: str) -> Score | None:
    part = parts.get(name)
    if not isinstance(part, Mapping) or not {"value", "low", "high", "n"} <= part.keys():
        return None
    known = cast(Mapping[str, float], part)
    return Score(value=known["value"], low=known["low"], high=known["high"], n=int(known["n"]))
