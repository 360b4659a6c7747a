"""The cells that a judgement asks for, and no others: whole rows, the diagonal, a column at need.

R of a sequence has half as many cells as the square of its versions; a judgement needs the version's
row and the champion's, and from the rows between only what is not the same function by digest.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, Row, Select, Text, select
from sqlalchemy import cast as cast_to
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.models import Evaluation, Task
from registry.records import Json
from registry.store import Registry


class Measured(NamedTuple):
    """What a judgement needs of a cell."""

    version: int
    task: str
    read: str
    under: str
    """"" in R itself."""
    key: str
    value: float
    n: int
    metric: str
    metric_version: str
    parts_json: str
    """Read only where rows are compared, which few cells' are: `parts`."""
    base_digest: str
    effective_digest: str | None
    test_digest: str
    predictions: str | None
    predictions_sha256: str | None

    @property
    def parts(self) -> Json:
        """How many rows each part of the score is of."""
        return cast(Json, json.loads(self.parts_json))


COLUMNS = (
    Evaluation.version,
    Evaluation.task,
    Evaluation.read,
    Evaluation.adapter_of,
    Evaluation.key,
    Evaluation.value,
    Evaluation.n,
    Evaluation.metric,
    Evaluation.metric_version,
    cast_to(Evaluation.parts, Text),
    Evaluation.base_digest,
    Evaluation.effective_digest,
    Evaluation.test_digest,
    Evaluation.predictions,
    Evaluation.predictions_sha256,
)
"""Of `Measured`, in its order."""

_MODES: tuple[Read, ...] = ("isolated", "inherited", "cumulative")

_Spot = tuple[str, str]
"""(task, under)"""


@dataclass(slots=True)
class Cells:
    """The current cells of one sequence under one read mode, each read once, when it is asked for."""

    registry: Registry
    sequence_id: int
    read: Read
    _rows: dict[int, dict[_Spot, Measured]] = field(default_factory=dict)
    _base: dict[str, Measured | None] = field(default_factory=dict)
    _single: dict[tuple[int, str], Measured | None] = field(default_factory=dict)
    """Cells of R that were read without their rows."""
    _diagonal_to: int = 0

    def at(self, version: int, task: str, under: str) -> Measured | None:
        """The newest cell at a place.

        The base has no adapter to read: any mode's cell is its own.
        """
        if version == 0:
            self.know_base((task,))
            return self._base[task]
        if not under and (version, task) in self._single:
            return self._single[version, task]
        if version not in self._rows:
            where = Evaluation.version == version, Evaluation.read == self.read
            self._rows[version] = {(each.task, each.under): each for each in self._found(*where)}
        return self._rows[version].get((task, under))

    def know_base(self, tasks: Collection[str]) -> None:
        """Read what the base scores on some tasks, all at once."""
        missing = [task for task in tasks if task not in self._base]
        if not missing:
            return
        found = {
            (each.read, each.task): each
            for each in self._found(
                Evaluation.version == 0,
                Evaluation.task.in_(missing),
                Evaluation.adapter_of == "",
                Evaluation.read.in_(_MODES),
            )
        }
        for task in missing:
            modes = (found.get((mode, task)) for mode in (self.read, *_MODES))
            self._base[task] = next((each for each in modes if each is not None), None)

    def when_learned(self, task: str, own: int, before: int) -> Measured | None:
        """The cell of R of a task at its own version; the tasks learned `before` are read together."""
        if self._diagonal_to < before:
            # From the tasks to their cells, which an outer join alone makes SQLite do: the other way
            # it reads all of R.
            there = (
                (Evaluation.sequence_id == Task.sequence_id)
                & (Evaluation.task == Task.name)
                & (Evaluation.version == Task.position)
                & (Evaluation.read == self.read)
                & (Evaluation.adapter_of == "")
            )
            learned = Task.sequence_id == self.sequence_id, Task.position < before
            wanted = select(*COLUMNS).select_from(Task).outerjoin(Evaluation, there).where(*learned)
            with self.registry._database.reading() as session:
                found = session.execute(wanted.order_by(Evaluation.id))
                cells = [Measured._make(row) for row in found if row.key is not None]
            self._single |= {(each.version, each.task): each for each in cells}
            self._diagonal_to = before
        return self._single.setdefault((own, task), None)

    def between(self, task: str, first: int, last: int) -> Iterable[Measured]:
        """The cells of R of a task at the versions from `first` to `last`."""
        found = self._found(
            Evaluation.task == task,
            Evaluation.read == self.read,
            Evaluation.adapter_of == "",
            Evaluation.version.between(first, last),
        )
        column = {each.version: each for each in found}
        self._single |= {(version, task): each for version, each in column.items()}
        return column.values()

    def _found(self, *where: ColumnElement[bool]) -> Sequence[Measured]:
        with self.registry._database.reading() as session:
            return tuple(_read(session, self._wanted(*where)))

    def _wanted(self, *where: ColumnElement[bool]) -> Select[tuple[object, ...]]:
        """Oldest first: who keeps the last of a place keeps the current one."""
        chosen = select(*COLUMNS).where(Evaluation.sequence_id == self.sequence_id, *where)
        return cast(Select[tuple[object, ...]], chosen.order_by(Evaluation.id))


def measured(row: Row[tuple[object, ...]]) -> Measured:
    """A row of `COLUMNS`."""
    return Measured._make(row)


def _read(session: Session, wanted: Select[tuple[object, ...]]) -> Iterator[Measured]:
    return map(measured, session.execute(wanted))
