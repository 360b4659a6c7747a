"""What a judgement stands on: cells of our rows, and the scores of every row they were made of.

A cell counts only with its predictions: the file must be there, be the one that was recorded, and
give the cell's own value. What is asked for and cannot be used is remembered, for rule `cells`.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from lori_core.config import Read
from lori_core.digests import sha256_bytes
from registry.gating.statistics import Comparison, Rows
from registry.records import Cell, Json, SequenceRecord, TaskRecord
from registry.store import Registry

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


@dataclass(slots=True)
class Evidence:
    """The cells of one sequence under one read mode, and what was asked of them."""

    sequence: SequenceRecord
    tasks: tuple[TaskRecord, ...]
    read: Read
    encoder: bool
    """An encoder has no cells of tasks it has not learned, the base row among them."""
    home: Path
    cells: Mapping[tuple[int, str, str, str], Cell]
    """(version, task, read, adapter_of or "") -> cell."""
    used: dict[str, str] = field(default_factory=dict)
    """Place -> key of the cell that was used."""
    tests: dict[str, str] = field(default_factory=dict)
    """Task -> digest of the test set that was used."""
    faults: dict[str, str] = field(default_factory=dict)
    """Place -> why it could not be used."""
    asked: set[str] = field(default_factory=set)
    _scores: dict[str, Scores | Fault] = field(default_factory=dict)

    def position(self, task: str) -> int:
        """The position of a task, from 1."""
        return self.sequence.tasks.index(task) + 1

    def cell(self, place: Place) -> Cell | None:
        """The cell at a place, in the read mode that is judged.

        The base has no adapter to read: any mode's cell is its own. Under a cumulative read all
        tasks share one adapter: a guard's own cell is its cell under every one of them.
        """
        under = "" if place.under is None or place.under == place.task else place.under
        found = self.cells.get((place.version, place.task, self.read, under))
        if found is not None:
            return found
        if place.version == 0:
            modes: tuple[Read, ...] = ("isolated", "inherited", "cumulative")
            based = (self.cells.get((0, place.task, mode, "")) for mode in modes)
            return next((cell for cell in based if cell is not None), None)
        if self.read == "cumulative" and under:
            return self.cells.get((place.version, place.task, self.read, ""))
        return None

    def require(self, place: Place) -> Cell | Fault:
        """A cell that must exist and be whole."""
        name = str(place)
        self.asked.add(name)
        if name in self.faults:
            return Fault(self.faults[name])
        cell = self.cell(place)
        fault = self._fault(place, cell)
        if cell is None or fault is not None:
            why = fault or f"{name} was not measured under the {self.read} read"
            self.faults[name] = why
            return Fault(why)
        self.used[name] = cell.key
        self.tests[place.task] = cell.test_digest
        return cell

    def compare(self, before: Place, after: Place) -> Comparison | Fault:
        """Two cells of one task, row by row; a Fault where they cannot be compared."""
        first, second = self.require(before), self.require(after)
        if isinstance(first, Fault):
            return first
        if isinstance(second, Fault):
            return second
        return self.compare_cells(first, str(before), second, str(after))

    def compare_cells(
        self, first: Cell, before: str, second: Cell, after: str
    ) -> Comparison | Fault:
        """As `compare`, of cells that are at hand (one may be of another sequence)."""
        pair = f"{before} and {after}"
        if first.test_digest != second.test_digest:
            return Fault(f"{pair} were measured on different test sets")
        if first.base_digest != second.base_digest:
            return Fault(f"{pair} were measured on different bases")
        same = first.effective_digest == second.effective_digest
        if (first.metric, first.metric_version) != (second.metric, second.metric_version) and (
            not same
        ):
            return Fault(f"{pair} were scored by different metrics or versions of one")
        one, other = self.scores(first, before), self.scores(second, after)
        if isinstance(one, Fault):
            return one
        if isinstance(other, Fault):
            return other
        if len(one) != len(other):
            return Fault(f"{pair} have different parts")
        parts = [_paired(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
        rows = tuple(part for part in parts if part is not None)
        if len(rows) < len(parts):
            return Fault(f"{pair} have no rows in common, or ids that repeat")
        return Comparison((first.key, second.key), rows, proved=same)

    def scores(self, cell: Cell, name: str) -> Scores | Fault:
        """The score of every row of a cell, out of its predictions."""
        if cell.predictions is None or cell.predictions_sha256 is None:
            return Fault(f"{name}: its predictions were not kept")
        known = self._scores.get(cell.key)
        if known is None:
            known = self._scores[cell.key] = _read(self.home / cell.predictions, cell, name)
        return known

    def _fault(self, place: Place, cell: Cell | None) -> str | None:
        if cell is None:
            return None
        if cell.base_digest != self.sequence.base_digest:
            return f"{place} was measured on another base"
        declared = next(task.data.get("test") for task in self.tasks if task.name == place.task)
        if cell.test_digest != declared:
            return f"{place} was measured on rows that are not its task's test set"
        found = self.scores(cell, str(place))
        return found.why if isinstance(found, Fault) else None


def gather(registry: Registry, sequence: str, read: Read, document: Json) -> Evidence:
    """The evidence there is about a sequence.

    Args:
        registry: where it is.
        sequence: its name.
        read: the mode to judge.
        document: the certificate of the version; it says whether tasks have heads.
    """
    return Evidence(
        sequence=registry.sequence(sequence),
        tasks=registry.tasks(sequence),
        read=read,
        encoder=_has_heads(document),
        home=registry.settings.home,
        cells={
            (cell.version, cell.task, cell.read, cell.adapter_of or ""): cell
            for cell in registry.cells(sequence)
        },
    )


def _has_heads(document: Json) -> bool:
    tasks = document.get("tasks")
    return isinstance(tasks, list) and any(
        isinstance(task, Mapping) and task.get("head") is not None for task in tasks
    )


def _read(path: Path, cell: Cell, name: str) -> Scores | Fault:
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


def _paired(
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
