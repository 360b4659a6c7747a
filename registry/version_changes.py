"""What learning one task did to every earlier one: scores with intervals, and answers that changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.changed_answers import AnswerCounts, answer_counts
from registry.comparing import Difference, Found, difference
from registry.score_changes import why_not

PAGE = 25
"""Earlier tasks told at once: of each, two files of predictions may have to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """One task before and after."""

    task: str
    before: int
    """The version it is compared with; 0 is the bare base."""
    score: Difference
    """Where `how` is `proved` the change is exactly 0, the task id given, in the reference runtime."""
    answers: AnswerCounts | None
    answers_why: str | None
    """Why they could not be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChanges:
    """A page of the earlier tasks, those that lost most first."""

    tasks: tuple[TaskChange, ...]
    page: int
    size: int
    total: int
    """Earlier tasks in all."""
    proved: int
    """Of all, how many are proved unchanged."""
    same_bits: int
    """Of all, how many are of one function by digest, which no certificate covers."""
    measured: int
    """Of all, how many have a score before and after that is neither."""
    missing: int
    """Of all, how many lack a score."""


def changes_of(
    home: Path,
    sequence: str,
    version: int,
    earlier: tuple[str, ...],
    before: Mapping[str, Found],
    after: Mapping[str, Found],
    *,
    covered: bool,
    page: int,
) -> VersionChanges:
    """Every earlier task from the version before to this one.

    Args:
        home: whose prediction files are read.
        sequence: its name.
        version: which.
        earlier: the tasks learned before it, in order.
        before: task -> its cell at the version before.
        after: task -> its cell at this version.
        covered: whether this version's certificate covers the read the cells are of.
        page: from 1.
    """
    ordered = sorted(earlier, key=lambda task: _gain(before.get(task), after.get(task)))
    page = min(page, last_page(len(earlier), PAGE))
    states = [_state(before.get(task), after.get(task), covered=covered) for task in earlier]
    shown = ordered[(page - 1) * PAGE : page * PAGE]
    return VersionChanges(
        tasks=tuple(
            task_change(home, sequence, task, version - 1, version, before, after, covered=covered)
            for task in shown
        ),
        page=page,
        size=PAGE,
        total=len(earlier),
        proved=states.count("proved"),
        same_bits=states.count("same_bits"),
        measured=states.count("measured"),
        missing=states.count("missing"),
    )


def last_page(rows: int, size: int) -> int:
    """The last page there is; an empty list has one page too."""
    return max(1, -(-rows // size))


def task_change(
    home: Path,
    sequence: str,
    task: str,
    first: int,
    second: int,
    before: Mapping[str, Found],
    after: Mapping[str, Found],
    *,
    covered: bool,
) -> TaskChange:
    """One task from one version to another."""
    names = _named(sequence, first), _named(sequence, second)
    cells = before.get(task), after.get(task)
    counts = answer_counts(home, *cells, names, covered=covered)
    return TaskChange(
        task=task,
        before=first,
        score=difference(home, task, *cells, names, covered=covered),
        answers=counts if isinstance(counts, AnswerCounts) else None,
        answers_why=counts if isinstance(counts, str) else None,
    )


def _gain(before: Found | None, after: Found | None) -> tuple[int, float]:
    """What sorts first lost most; what cannot be told comes last. Sorting is stable."""
    if before is None or after is None:
        return 1, 0.0
    return 0, after.cell.value - before.cell.value


def _state(before: Found | None, after: Found | None, *, covered: bool) -> str:
    if before is None or after is None:
        return "missing"
    one, other = before.cell, after.cell
    same = why_not(one, other) is None and (one.base_digest, one.effective_digest) == (
        other.base_digest,
        other.effective_digest,
    )
    if not same:
        return "measured"
    return "proved" if covered else "same_bits"


def _named(sequence: str, version: int) -> str:
    return f"{sequence}/{version}" if version else "the bare base"
