"""What a judgement stands on: cells of our rows, and the scores of the rows they were made of.

Two cells of one function on one test set differ by nothing, whatever their files say: they are
compared by digest. Every other comparison opens both files of predictions, which must be there, be
those that were recorded, and give the cells' own values. What is asked for and cannot be used is
remembered, for rule `cells`.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sqlalchemy import select

from lori_core.config import Read
from lori_core.digests import sha256_bytes
from registry import lineage
from registry.covering import covers
from registry.gating.cells import Cells, Measured
from registry.gating.statistics import Comparison, Rows, Unchanged
from registry.models import Certificate, Task, Version
from registry.records import CertificateLevel, Json
from registry.store import Registry
from registry.succession import KEY

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used as evidence: one sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell stands: whose rows, at which version, under whose adapter."""

    version: int
    task: str
    under: str | None = None
    """None: under its own, a cell of R."""

    def __str__(self) -> str:
        """Say `R[2, math]`, or `safety under math at version 2`."""
        if self.under is None or self.under == self.task:
            return f"R[{self.version}, {self.task}]"
        return f"{self.task} under {self.under} at version {self.version}"


Scores = tuple[tuple[tuple[str, float], ...], ...]
"""For each part of a cell (`refusal` has two): the id and the score of each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What the certificate of a version says, without its document."""

    level: CertificateLevel
    read: Read


@dataclass(slots=True, kw_only=True)
class Evidence:
    """The cells of one sequence under one read mode, and what was asked of them."""

    sequence: str
    base_digest: str
    protection: str
    tasks: tuple[str, ...]
    """In order."""
    declared: Mapping[str, str | None]
    """Task -> the digest of its test set."""
    predecessors: Mapping[str, str]
    """Task -> the task it is a new version of."""
    read: Read
    encoder: bool
    """An encoder has no cells of tasks it has not learned, the base row among them."""
    certificate: Certified
    """Of the version that is judged."""
    home: Path
    cells: Cells
    used: dict[str, str] = field(default_factory=dict)
    """Place -> key of the cell that was used."""
    tests: dict[str, str] = field(default_factory=dict)
    """Task -> digest of the test set whose rows were compared."""
    faults: dict[str, str] = field(default_factory=dict)
    """Place -> why it could not be used."""
    _required: dict[Place, Measured | Fault] = field(default_factory=dict)
    _scores: dict[str, Scores | Fault] = field(default_factory=dict)
    _positions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the tasks."""
        self._positions = {task: place for place, task in enumerate(self.tasks, start=1)}

    @property
    def proved(self) -> bool:
        """Whether earlier tasks are proved unchanged under the read mode that is judged."""
        return covers(self.certificate.level, self.certificate.read, self.read)

    @property
    def asked(self) -> int:
        """How many cells were asked for."""
        return len(self._required)

    @property
    def opened(self) -> int:
        """How many cells' predictions were read."""
        return len(self._scores)

    def position(self, task: str) -> int:
        """The position of a task, from 1."""
        return self._positions[task]

    def cell(self, place: Place) -> Measured | None:
        """The cell at a place, in the read mode that is judged.

        Under a cumulative read all tasks share one adapter: a guard's own cell is its cell under
        every one of them.
        """
        under = "" if place.under is None or place.under == place.task else place.under
        found = self.cells.at(place.version, place.task, under)
        if found is None and under and self.read == "cumulative":
            return self.cells.at(place.version, place.task, "")
        return found

    def since_learned(self, task: str, version: int) -> list[Place]:
        """The places a task was measured at from its own version on, before `version`.

        Its own alone, where the certificate proves that nothing could change in between, and the
        function is still the one that was learned.
        """
        own = self.position(task)
        then, now = self.cells.when_learned(task, own, version), self.cell(Place(version, task))
        learned = "" if then is None else then.effective_digest
        if self.proved and now is not None and now.effective_digest == learned:
            return [Place(own, task)]
        later = self.cells.between(task, own + 1, version - 1)
        return [Place(own, task), *(Place(each.version, task) for each in later)]

    def require(self, place: Place) -> Measured | Fault:
        """A cell that must exist, of this base and this task's test set."""
        known = self._required.get(place)
        if known is not None:
            return known
        cell = self.cell(place)
        why = self._fault(place, cell)
        found: Measured | Fault
        if cell is None or why is not None:
            found = Fault(why or f"{place} was not measured under the {self.read} read")
            self.faults[str(place)] = found.why
        else:
            found = cell
            self.used[str(place)] = cell.key
        self._required[place] = found
        return found

    def compare(self, before: Place, after: Place) -> Comparison | Unchanged | Fault:
        """Two cells of one task; a Fault where they cannot be compared."""
        first, second = self.require(before), self.require(after)
        if isinstance(first, Fault):
            return first
        if isinstance(second, Fault):
            return second
        return self.compare_cells(first, before, second, after)

    def compare_cells(
        self, first: Measured, before: Place | str, second: Measured, after: Place
    ) -> Comparison | Unchanged | Fault:
        """As `compare`, of cells that are at hand; the first may be of another sequence, by its name."""
        if first.test_digest != second.test_digest:
            return Fault(f"{before} and {after} were measured on different test sets")
        if first.base_digest != second.base_digest:
            return Fault(f"{before} and {after} were measured on different bases")
        if first.effective_digest == second.effective_digest:
            return Unchanged((first.key, second.key), second.n, first.value, second.value)
        if (first.metric, first.metric_version) != (second.metric, second.metric_version):
            return Fault(
                f"{before} and {after} were scored by different metrics or versions of one"
            )
        self.tests[second.task] = second.test_digest
        one, other = self.scores(first, before), self.scores(second, after)
        if isinstance(one, Fault):
            return one
        if isinstance(other, Fault):
            return other
        if len(one) != len(other):
            return Fault(f"{before} and {after} have different parts")
        parts = [paired_rows(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
        rows = tuple(part for part in parts if part is not None)
        if len(rows) < len(parts):
            return Fault(f"{before} and {after} have no rows in common, or ids that repeat")
        return Comparison((first.key, second.key), rows)

    def scores(self, cell: Measured, place: Place | str) -> Scores | Fault:
        """The score of every row of a cell, out of its predictions."""
        known = self._scores.get(cell.key)
        if known is None:
            known = self._scores[cell.key] = read_scores(self.home, cell, str(place))
        if isinstance(known, Fault) and isinstance(place, Place):
            self.faults.setdefault(str(place), known.why)
        return known

    def _fault(self, place: Place, cell: Measured | None) -> str | None:
        if cell is None:
            return None
        if cell.base_digest != self.base_digest:
            return f"{place} was measured on another base"
        if cell.test_digest != self.declared[place.task]:
            return f"{place} was measured on rows that are not its task's test set"
        return None


def gather(registry: Registry, sequence: str, version: int, read: Read) -> Evidence:
    """The evidence there is about a version of a sequence, read as it is asked for.

    Args:
        registry: where it is.
        sequence: its name.
        version: a filed one.
        read: the mode to judge.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        tasks = session.execute(
            select(Task.name, Task.data["test"].as_string(), Task.config[KEY].as_string())
            .where(Task.sequence_id == owner.id)
            .order_by(Task.position)
        ).all()
        level, trained = session.execute(
            select(Certificate.level, Certificate.read)
            .join(Version, Version.certificate_id == Certificate.id)
            .where(Version.sequence_id == owner.id, Version.number == version)
        ).one()
        return Evidence(
            sequence=sequence,
            base_digest=owner.base_digest,
            protection=str(owner.adapter.get("protection", "disjoint")),
            tasks=tuple(name for name, _, _ in tasks),
            declared={name: test for name, test, _ in tasks},
            predecessors={name: old for name, _, old in tasks if old},
            read=read,
            encoder=has_heads(lineage.version_row(session, sequence, 1).certificate.document),
            certificate=Certified(level=cast(CertificateLevel, level), read=cast(Read, trained)),
            home=registry.settings.home,
            cells=Cells(registry, owner.id, read),
        )


def has_heads(document: Json) -> bool:
    """Whether the first task has a head: all or none of a base's tasks have."""
    tasks = document.get("tasks")
    return isinstance(tasks, list) and any(
        isinstance(task, Mapping) and task.get("head") is not None for task in tasks
    )


def read_scores(home: Path, cell: Measured, name: str) -> Scores | Fault:
    """The score of every row of a cell, out of the predictions that were recorded with it."""
    if cell.predictions is None or cell.predictions_sha256 is None:
        return Fault(f"{name}: its predictions were not kept")
    path = home / cell.predictions
    if not path.is_file():
        return Fault(f"{name}: its predictions are gone ({cell.predictions})")
    data = path.read_bytes()
    if sha256_bytes(data) != cell.predictions_sha256:
        return Fault(f"{name}: its predictions are not those that were recorded")
    rows: list[tuple[str, float]] = []
    for number, line in enumerate(data.splitlines(), start=1):
        row = _row(line)
        if row is None:
            return Fault(f"{name}: row {number} of its predictions has no score from 0 to 1")
        rows.append(row)
    if not rows or len(rows) != cell.n:
        return Fault(f"{name}: {len(rows)} predictions for {cell.n} rows")
    parts = _parts(tuple(rows), cell.parts)
    if parts is None:
        return Fault(f"{name}: its parts do not add up to its rows")
    value = math.fsum(math.fsum(s for _, s in part) / len(part) for part in parts) / len(parts)
    if not abs(value - cell.value) <= _ROUNDING:  # NaN is no value
        return Fault(f"{name}: its value is {cell.value:.6g}, its predictions give {value:.6g}")
    return parts


def _row(line: bytes) -> tuple[str, float] | None:
    try:
        row = json.loads(line)
        score, name = row["score"], row["id"]
    except (ValueError, KeyError, TypeError):
        return None
    number = isinstance(score, int | float) and not isinstance(score, bool)
    return (str(name), float(score)) if number and 0 <= score <= 1 else None


def _parts(rows: tuple[tuple[str, float], ...], parts: Json) -> Scores | None:
    """Harmful rows first, then harmless ones, as a `refusal` cell says; else all rows together."""
    counts = [parts.get(name) for name in ("refused", "answered")]
    if not all(isinstance(each, Mapping) for each in counts):
        return (rows,)
    first, second = (cast(Json, each).get("n") for each in counts)
    if not isinstance(first, int) or not isinstance(second, int):
        return None
    if first < 1 or second < 1 or first + second != len(rows):
        return None
    return rows[:first], rows[first:]


def paired_rows(
    before: tuple[tuple[str, float], ...], after: tuple[tuple[str, float], ...]
) -> Rows | None:
    """The rows that both scored, by position where the ids agree, else by id."""
    if [name for name, _ in before] == [name for name, _ in after]:
        return Rows(tuple(score for _, score in before), tuple(score for _, score in after))
    for side in (before, after):
        if max(Counter(name for name, _ in side).values()) > 1:
            return None
    other = dict(after)
    both = [(score, other[name]) for name, score in before if name in other]
    return Rows(tuple(b for b, _ in both), tuple(a for _, a in both)) if both else None
