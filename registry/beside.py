"""A version beside what serves, task by task, with what the gate said of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.comparing import Difference, cells_at, difference
from registry.decisions import BARE_BASE, RuleResult
from registry.models import Sequence as SequenceRow
from registry.models import Task
from registry.store import Registry

TASKS = 25
"""Tasks on a page."""

ABOUT_A_TASK = ("forgetting", "learning", "plasticity")
"""Families of rules that judge a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One task of the version beside what serves."""

    difference: Difference
    before: str
    """Where the figure before was measured: `S/2`, or `S, bare base` for what the champion has not learned."""
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
    """Each task beside what its users are given now: the champion's, else the bare base's."""
    serves = champion or BARE_BASE
    positions = dict(
        session.execute(
            select(Task.name, Task.position).where(
                Task.sequence_id == owner.id, Task.name.in_(tasks)
            )
        )
        .tuples()
        .all()
    )
    mine = cells_at(session, owner.id, version, read, tasks)
    theirs = cells_at(session, owner.id, serves, read, tasks)
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
        names = before, f"{owner.name}/{version}"
        first = (theirs if known else base).get(task)
        gap = difference(registry.settings.home, task, first, mine.get(task), names)
        found.append(Beside(difference=gap, before=before, verdicts=tuple(about[task])))
    return tuple(found)
