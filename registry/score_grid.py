"""R of one read mode as arrays: every figure of a page is made from them, none from rows of the store.

One statement reads it, of a few columns. Kept in memory until the sequence's cells change: cells are
written once, so their number, their ids and the time of the newest tell whether they have (SQLite gives the
id of a deleted row again).
"""

from collections.abc import Collection
from collections.abc import Sequence as Many
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.models import Evaluation
from registry.records import MatrixCells
from registry.remembered import Remembered

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MODES: tuple[Read, ...] = ("isolated", "inherited", "cumulative")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreGrid:
    """R under one read mode. Row k is version k, row 0 the bare base; column i - 1 is task i.

    The arrays are (rows, tasks); do not write to them, they are shared.
    """

    read: Read
    tasks: tuple[str, ...]
    value: Floats
    """The score as a fraction; NaN for what was not measured."""
    low: Floats
    high: Floats
    n: Whole
    """Rows scored; 0 for what was not measured."""
    unchanged: Flags
    """The cell is of the very function that was measured when its task was learned, by digest."""
    scale: Whole
    """What the score is of: equal numbers are of one test set, one metric and one version of it; 0: none."""
    cell: Whole
    """Id of the cell's row in the store; 0 for what was not measured."""

    @property
    def learned(self) -> int:
        """K, the newest version that is filed or measured."""
        return len(self.value) - 1

    def score(self, version: int, position: int) -> float | None:
        """R[version, position]; None for what was not measured."""
        found = float(self.value[version, position - 1])
        return None if np.isnan(found) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose cells are read."""

    store: str
    """The store they lie in: what is kept of one is not of another."""
    id: int
    tasks: tuple[str, ...]
    """In order, those to come too."""
    learned: int
    """Its newest version, filed or half-filed."""


_Stamp = tuple[int, int, int, datetime | None]
_Key = tuple[Owner, Read, _Stamp]

_kept: Remembered[_Key, ScoreGrid] = Remembered(most=2_000_000)
"""By size: cells of all grids together."""


def grids(session: Session, owner: Owner, also: Collection[Read]) -> dict[Read, ScoreGrid]:
    """Every read mode that was measured, in the order of `MODES`, and those of `also`, measured or not.

    One statement for each that is not in memory, and one more.
    """
    counted = session.execute(
        select(
            Evaluation.read,
            func.count(),
            func.max(Evaluation.id),
            func.sum(Evaluation.id),
            func.max(Evaluation.created),
        )
        .where(Evaluation.sequence_id == owner.id)
        .group_by(Evaluation.read)
    )
    stamps = {read: (int(n), int(last), int(ids), at) for read, n, last, ids, at in counted}
    # The base row takes a cell of any mode: a new cell of one may change the grid of another.
    stamp = (
        sum(each[0] for each in stamps.values()),
        max((each[1] for each in stamps.values()), default=0),
        sum(each[2] for each in stamps.values()),
        max((each[3] for each in stamps.values()), default=None),
    )
    return {
        read: _grid(session, owner, read, stamp) for read in MODES if read in stamps or read in also
    }


def _grid(session: Session, owner: Owner, read: Read, stamp: _Stamp) -> ScoreGrid:
    key = (owner, read, stamp)
    known = _kept.get(key)
    if known is None:
        rows = session.execute(_wanted(owner, read)).all()
        known = made_grid(owner, read, rows)
        _kept.put(key, known, size=known.value.size)
    return known


CELL = (
    Evaluation.id,
    Evaluation.version,
    Evaluation.task,
    Evaluation.read,
    Evaluation.value,
    Evaluation.low,
    Evaluation.high,
    Evaluation.n,
    Evaluation.effective_digest,
    Evaluation.test_digest,
    Evaluation.metric,
    Evaluation.metric_version,
)
"""What a grid takes of a cell."""


def _wanted(owner: Owner, read: Read) -> Select[Any]:
    return (
        select(*CELL)
        .where(
            Evaluation.sequence_id == owner.id,
            or_(Evaluation.read == read, Evaluation.version == 0),
            or_(Evaluation.adapter_of == "", Evaluation.adapter_of == Evaluation.task),
        )
        .order_by(Evaluation.id)
    )


def grid_of_cells(cells: MatrixCells) -> ScoreGrid:
    """R as arrays out of its cells, where there is no store to read: from afar, or up to a version."""
    rows = [
        (
            1, row.version, task, cells.read, cell.value, cell.low, cell.high, cell.n,
            cell.effective_digest, cell.test_digest, cell.metric, cell.metric_version,
        )
        for row in cells.rows
        for task, cell in zip(cells.tasks, row.cells, strict=True)
        if cell is not None
    ]  # fmt: skip
    owner = Owner(store="", id=0, tasks=cells.tasks, learned=cells.rows[-1].version)
    return made_grid(owner, cells.read, rows)


def made_grid(owner: Owner, read: Read, rows: Many[Many[Any]]) -> ScoreGrid:
    """R out of rows of `CELL`, oldest first; of the base row's, those of another mode are second best."""
    position = {task: place for place, task in enumerate(owner.tasks)}
    current: dict[tuple[int, int], Many[Any]] = {}
    for row in sorted(rows, key=lambda each: each[3] == read):  # stable: oldest first in each
        if row[2] in position:
            current[row[1], position[row[2]]] = row
    count = len(owner.tasks)
    last = min(max([owner.learned, *(version for version, _ in current)]), count)
    shape = (last + 1, count)
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    n, cell, scale = (np.zeros(shape, np.int64) for _ in range(3))
    scales: dict[tuple[str, ...], int] = {}
    unchanged = np.zeros(shape, np.bool_)
    learned = {at: row[8] for (version, at), row in current.items() if version == at + 1}
    for (version, at), row in current.items():
        if version > last:
            continue
        (
            identity,
            _,
            _,
            _,
            value[version, at],
            low[version, at],
            high[version, at],
            rows_scored,
            digest,
            *scored_by,
        ) = row
        n[version, at], cell[version, at] = rows_scored, identity
        scale[version, at] = scales.setdefault(tuple(scored_by), len(scales) + 1)
        unchanged[version, at] = version > at and digest is not None and digest == learned.get(at)
    for array in (value, low, high, n, cell, scale, unchanged):
        array.flags.writeable = False
    return ScoreGrid(
        read=read,
        tasks=owner.tasks,
        value=value,
        low=low,
        high=high,
        n=n,
        unchanged=unchanged,
        scale=scale,
        cell=cell,
    )
