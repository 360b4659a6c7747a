"""A version beside what serves, task by task, with what the gate said of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.comparing import Difference, cells_at, difference
from registry.covering import covered_by
from registry.decisions import BARE_BASE, RuleResult
from registry.models import Sequence as SequenceRow
from registry.models import Task
from registry.store import Registry
from registry.succession import KEY

TASKS = 25
"""Tasks on a page."""

ABOUT_A_TASK = ("forgetting", "learning", "plasticity")
"""Families of rules that judge a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One task of the version beside what serves."""

    difference: Difference
    before: str
    """Where the figure before was measured: `S/2`, `the bare base` for what the champion has not learned,
    or `math at S/2` for a task that supersedes math."""
    answered_by: str | None
    """The newer task that answers its users at the version; None: it does so itself."""
    verdicts: tuple[RuleResult, ...]
    """What the gate's report says of the task."""


def window(tasks: Sequence[str], page: int) -> tuple[Sequence[str], int]:
    """One page of tasks, and which that is; beyond the last is the last."""
    page = min(page, max(1, -(-len(tasks) // TASKS)))
    return tasks[(page - 1) * TASKS : page * TASKS], page


def beside(
    registry: Registry,
    session: Session,
    owner: SequenceRow,
    version: int,
    champion: int | None,
    read: Read,
    tasks: Sequence[str],
    rules: Sequence[RuleResult],
) -> tuple[Beside, ...]:
    """Each task beside what its users are given now: the champion's, else the bare base's.

    One that supersedes another and is new since the champion stands beside that one, as in the gate.
    """
    serves = champion or BARE_BASE
    told = session.execute(
        select(Task.name, Task.position, Task.config[KEY].as_string()).where(
            Task.sequence_id == owner.id
        )
    ).all()
    positions = {name: position for name, position, _ in told}
    older = {name: old for name, place, old in told if old in positions and positions[old] < place}
    newer = {old: name for name, old in older.items() if positions[name] <= version}
    both = [*tasks, *(older[task] for task in tasks if task in older)]
    mine = cells_at(session, owner.id, version, read, both)
    theirs = cells_at(session, owner.id, serves, read, both)
    covered = covered_by(session, owner.id, version, read)
    base = cells_at(session, owner.id, BARE_BASE, read, tasks)
    about: dict[str, list[RuleResult]] = {task: [] for task in tasks}
    for rule in rules:
        family, _, task = rule.rule.partition(":")
        if family in ABOUT_A_TASK and task in about:
            about[task].append(rule)
    found = []
    for task in tasks:
        known = serves != BARE_BASE and positions[task] <= serves
        before = f"{owner.name}/{serves}" if known else "the bare base"
        first = (theirs if known else base).get(task)
        if not known and task in older:
            old = older[task]
            learned = serves != BARE_BASE and positions[old] <= serves
            before = f"{old} at {owner.name}/{serves if learned else version}"
            first = (theirs if learned else mine).get(old)
        names = before, f"{owner.name}/{version}"
        sure = covered and known
        gap = difference(registry.settings.home, task, first, mine.get(task), names, covered=sure)
        found.append(
            Beside(
                difference=gap,
                before=before,
                answered_by=_newest(newer, task),
                verdicts=tuple(about[task]),
            )
        )
    return tuple(found)


def _newest(newer: Mapping[str, str], task: str) -> str | None:
    """The last in the chain of those that supersede a task; None where none does."""
    found = None
    while task in newer:
        found = task = newer[task]
    return found
