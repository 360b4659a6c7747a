"""What serves now and would not under an older version: tasks that it never learned."""

from dataclasses import dataclass

from sqlalchemy import select

from lori_core.config import Read
from registry import decided, lineage
from registry.beside import TASKS
from registry.comparing import Difference, cells_at, difference
from registry.decisions import BARE_BASE
from registry.models import Task
from registry.store import Registry
from registry.succession import KEY, fallback

BASE = "the bare base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Falls:
    """One task that serves now and is not in the version."""

    difference: Difference
    before: str
    """Who answers its users now: `S/3`."""
    after: str
    """Who would: `the bare base`, or the older task it supersedes, `sql at S/1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Falling:
    """Every task that would fall back."""

    tasks: tuple[Falls, ...]
    """The first of them, oldest first."""
    total: int

    @property
    def to_base(self) -> bool:
        """Whether all of them that are shown would fall to the bare base."""
        return all(each.after == BASE for each in self.tasks)


NONE = Falling(tasks=(), total=0)


def falling(
    registry: Registry, sequence: str, version: int | None, champion: int | None, read: Read
) -> Falling:
    """The tasks of the champion that a version has not learned, without those out of service.

    Args:
        registry: where it is.
        sequence: its name.
        version: the one that might serve; None for none.
        champion: what serves; None for nothing, 0 for the bare base.
        read: the mode whose figures are told.
    """
    if version is None or champion is None or champion <= version:
        return NONE
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        retired = decided.retired_tasks(session, owner)
        told = session.execute(
            select(Task.name, Task.position, Task.config[KEY].as_string())
            .where(Task.sequence_id == owner.id)
            .order_by(Task.position)
        ).all()
        older = {name: old for name, _, old in told if old is not None}
        positions = {name: position for name, position, _ in told}
        lost = [
            name for name, place, _ in told if version < place <= champion and name not in retired
        ]
        shown = lost[:TASKS]
        to = {task: fallback(older, positions, task, version) for task in shown}
        now = cells_at(session, owner.id, champion, read, shown)
        base = cells_at(session, owner.id, BARE_BASE, read, shown)
        mine = cells_at(
            session, owner.id, version, read, [old for old in to.values() if old is not None]
        )
    before = f"{sequence}/{champion}"
    found = []
    for task in shown:
        old = to[task]
        after = BASE if old is None else f"{old} at {sequence}/{version}"
        cell = base.get(task) if old is None else mine.get(old)
        if old in retired:  # whoever asks for it is refused
            after, cell = f"nothing: {old} is retired", None
        found.append(
            Falls(
                difference=difference(
                    registry.settings.home, task, now.get(task), cell, (before, after)
                ),
                before=before,
                after=after,
            )
        )
    return Falling(tasks=tuple(found), total=len(lost))
