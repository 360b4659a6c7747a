"""The worst forgetting of many sequences at once, in a number of statements that none of them raises.

A sequence whose newest certificate covers every earlier task's answers needs two cells a task: the one
just after it was learned and the newest, which must be of one function. Only where something is not
proved is all of R read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.covering import covered_versions, covers
from registry.models import Certificate, Evaluation, Task, Version
from registry.models import Sequence as SequenceRow
from registry.score_changes import Basis, NotComparable, how_to_compare, read_cells, row_by_row
from registry.score_curves import Earlier, Worst, figures_of
from registry.score_grid import CELL, Owner, ScoreGrid, made_grid
from registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstForgetting:
    """The task that lost most since it was at its best, under the mode its sequence serves."""

    value: float
    """A fraction; positive is lost."""
    low: float
    high: float
    n: int
    task: str
    basis: Basis
    earlier: Earlier
    """Every earlier task, by how it is known what it lost."""
    proved: bool
    """Every earlier task is proved unchanged: nothing was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest filed version of a sequence."""

    version: int
    level: str
    """Of its certificate."""
    certified: str
    """The read mode its certificate is of."""
    read: Read
    """The mode its sequence serves."""


def worst_forgetting(
    registry: Registry, session: Session, newest: Mapping[int, Newest]
) -> dict[int, WorstForgetting]:
    """What each lost, under the mode it serves; those of which nothing is known are left out.

    Args:
        registry: whose predictions are compared.
        session: an open one.
        newest: id of a sequence -> its newest version, the second or a later one.
    """
    proved = _all_proved(session, newest)
    rest = {identity: each for identity, each in newest.items() if identity not in proved}
    return {**proved, **_measured(registry, session, rest)}


def _all_proved(session: Session, newest: Mapping[int, Newest]) -> dict[int, WorstForgetting]:
    """Those of which every earlier task is the function it was, by digest and certificate."""
    covered = [
        identity
        for identity, each in newest.items()
        if covers(each.level, each.certified, each.read)
    ]
    if not covered:
        return {}
    last = (
        select(Version.sequence_id.label("owner"), func.max(Version.number).label("newest"))
        .where(Version.sequence_id.in_(covered), Version.state == "registered")
        .group_by(Version.sequence_id)
        .subquery()
    )
    mode = func.coalesce(SequenceRow.adapter["read"].as_string(), "inherited")
    digests: list[dict[tuple[int, int], tuple[str | None, int]]] = []
    for version in (Task.position, last.c.newest):
        # From the tasks to their cells, which an outer join alone makes SQLite do.
        there = (
            (Evaluation.sequence_id == Task.sequence_id)
            & (Evaluation.task == Task.name)
            & (Evaluation.read == mode)
            & (Evaluation.adapter_of == "")
            & (Evaluation.version == version)
        )
        rows = session.execute(
            select(Task.sequence_id, Task.position, Evaluation.effective_digest, Evaluation.n)
            .select_from(last)
            .join(SequenceRow, SequenceRow.id == last.c.owner)
            .join(
                Task,
                (Task.sequence_id == last.c.owner) & (Task.position < last.c.newest),
            )
            .outerjoin(Evaluation, there)
            .order_by(Evaluation.id)
        )
        digests.append(
            {(owner, position): (digest, n) for owner, position, digest, n in rows if n is not None}
        )
    learned, now = digests
    found: dict[int, WorstForgetting] = {}
    for identity in covered:
        places = [(identity, position) for position in range(1, newest[identity].version)]
        cells = [(learned.get(place), now.get(place)) for place in places]
        if all(
            then is not None and latest is not None and then[0] is not None and then[0] == latest[0]
            for then, latest in cells
        ):
            rows_scored = min(latest[1] for _, latest in cells if latest is not None)
            found[identity] = WorstForgetting(
                value=0.0, low=0.0, high=0.0, n=rows_scored, task="", basis="proved",
                earlier=Earlier(proved=len(cells)), proved=True,
            )  # fmt: skip
    return found


def _measured(
    registry: Registry, session: Session, rest: Mapping[int, Newest]
) -> dict[int, WorstForgetting]:
    """What the others lost: all of their R, read at once; the worst is compared row by row."""
    if not rest:
        return {}
    tasks: dict[int, list[str]] = {identity: [] for identity in rest}
    certified: dict[int, list[tuple[int, str, str]]] = {identity: [] for identity in rest}
    named = select(Task.sequence_id, Task.name).where(Task.sequence_id.in_(sorted(rest)))
    for identity, name in session.execute(named.order_by(Task.position)):
        tasks[identity].append(name)
    levels = (
        select(Version.sequence_id, Version.number, Certificate.level, Certificate.read)
        .join(Certificate, Certificate.id == Version.certificate_id)
        .where(Version.sequence_id.in_(sorted(rest)))
    )
    for identity, number, level, read in session.execute(levels):
        certified[identity].append((number, level, read))
    mode = func.coalesce(SequenceRow.adapter["read"].as_string(), "inherited")
    cells: dict[int, list[Any]] = {identity: [] for identity in rest}
    rows = session.execute(
        select(*CELL, Evaluation.sequence_id)
        .join(SequenceRow, SequenceRow.id == Evaluation.sequence_id)
        .where(
            Evaluation.sequence_id.in_(sorted(rest)),
            Evaluation.read == mode,
            Evaluation.version > 0,
            or_(Evaluation.adapter_of == "", Evaluation.adapter_of == Evaluation.task),
        )
        .order_by(Evaluation.id)
    )
    for row in rows:
        cells[row[-1]].append(row)
    grids: dict[int, ScoreGrid] = {}
    worst: dict[int, Worst] = {}
    earlier: dict[int, Earlier] = {}
    for identity, each in rest.items():
        owner = Owner(store="", id=identity, tasks=tuple(tasks[identity]), learned=each.version)
        grids[identity] = made_grid(owner, each.read, [row[:-1] for row in cells[identity]])
        covered = covered_versions(certified[identity], each.read)
        for figures in figures_of(grids[identity], covered)[each.version - 1 : each.version]:
            if figures.worst is not None:
                worst[identity], earlier[identity] = figures.worst, figures.earlier
    return _row_by_row(registry, session, rest, grids, worst, earlier)


def _row_by_row(
    registry: Registry,
    session: Session,
    rest: Mapping[int, Newest],
    grids: Mapping[int, ScoreGrid],
    worst: Mapping[int, Worst],
    earlier: Mapping[int, Earlier],
) -> dict[int, WorstForgetting]:
    def spots(identity: int) -> tuple[int, int]:
        found, grid = worst[identity], grids[identity]
        at = found.position - 1
        return int(grid.cell[found.best_at, at]), int(grid.cell[rest[identity].version, at])

    paired = [identity for identity in worst if worst[identity].basis != "proved"]
    cells = read_cells(session, _flat(spots(identity) for identity in paired))
    found: dict[int, WorstForgetting] = {}
    for identity, lost in worst.items():
        told = lost.value, lost.low, lost.high, lost.n, lost.basis
        if lost.basis != "proved":
            before, after = (cells.get(cell) for cell in spots(identity))
            if before is not None and after is not None:
                name = f"R[{before.cell.version}, {before.cell.task}]"
                evidence = how_to_compare(registry, rest[identity].read)
                change = row_by_row(evidence, before, name, after).turned
                if not isinstance(change, NotComparable):
                    told = change.value, change.low, change.high, change.n, change.basis
        value, low, high, n, basis = told
        found[identity] = WorstForgetting(
            value=value, low=low, high=high, n=n, task=lost.task, basis=basis,
            earlier=earlier[identity], proved=False,
        )  # fmt: skip
    return found


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [each for pair in pairs for each in pair]
