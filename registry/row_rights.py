"""Who may see rows (prompts and answers): a right of its own, for each task, beside the roles.

Pages of numbers are open to who may read; a row may hold what a customer wrote. So nobody sees rows by
his role, an admin neither: he is allowed, and the list says who allowed him. The OS user of the embedded
default, who owns the files, sees them once he has signed in. Hidden rows nobody sees.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select

from lori_core.errors import CheckFailed, NotFound
from lori_core.names import check_name
from registry.access_models import HiddenRowsRow, RowRightRow
from registry.clock import now
from registry.decision_models import AccountRow
from registry.decisions import Actor
from registry.people import PROXY, proxied
from registry.plain import plain_text
from registry.roles import allow
from registry.store import Registry

_ALL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRight:
    """Somebody may see rows."""

    account: str
    sequence: str
    task: str | None
    """None: of every task of the sequence."""
    made_by: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenRows:
    """Rows that nobody sees."""

    sequence: str
    task: str
    reason: str
    made_by: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRows:
    """Whose rows somebody may see."""

    everything: bool
    allowed: Collection[tuple[str, str]]
    hidden: Collection[tuple[str, str]]

    def sees(self, sequence: str, task: str) -> bool:
        """Whether he may see the prompts and answers of a task."""
        if (sequence, task) in self.hidden:
            return False
        return (
            self.everything or (sequence, _ALL) in self.allowed or (sequence, task) in self.allowed
        )

    def insist(self, sequence: str, task: str) -> None:
        """Return if he may see the rows of a task.

        Raises:
            CheckFailed: `role`: he may not, or they are hidden.
        """
        if (sequence, task) in self.hidden:
            raise CheckFailed("role", f"the rows of {task} of {sequence} are hidden from everybody")
        if not self.sees(sequence, task):
            raise CheckFailed(
                "role",
                f"the rows of {task} of {sequence} take a right of their own, which an admin gives"
                " (`lori rows allow`)",
            )


NOTHING = SeenRows(everything=False, allowed=frozenset(), hidden=frozenset())
"""What somebody sees who is nobody in particular."""


def seen_by(registry: Registry, actor: Actor, *, owner: bool) -> SeenRows:
    """What rows an actor may see: two queries, however many tasks there are.

    Args:
        registry: whose rows.
        actor: who looks.
        owner: whether he is the OS user of the embedded default, signed in by the token.
    """
    mine = select(RowRightRow.sequence, RowRightRow.task).where(RowRightRow.account == actor.name)
    with registry._database.reading() as session:
        allowed = () if owner else session.execute(mine).tuples()
        hidden = session.execute(select(HiddenRowsRow.sequence, HiddenRowsRow.task)).tuples()
        return SeenRows(everything=owner, allowed=frozenset(allowed), hidden=frozenset(hidden))


class RowRights:
    """The rights to see rows, in the hands of one actor; every method is an admin's."""

    def __init__(self, registry: Registry, actor: Actor) -> None:
        self._registry = registry
        self._database = registry._database
        self.actor = actor

    def row_rights(self) -> tuple[RowRight, ...]:
        """Who may see which rows, by name."""
        allow(self.actor, "accounts")
        by = (RowRightRow.account, RowRightRow.sequence, RowRightRow.task)
        with self._database.reading() as session:
            return tuple(_right(row) for row in session.scalars(select(RowRightRow).order_by(*by)))

    def hidden_rows(self) -> tuple[HiddenRows, ...]:
        """Which rows nobody sees."""
        allow(self.actor, "accounts")
        by = (HiddenRowsRow.sequence, HiddenRowsRow.task)
        with self._database.reading() as session:
            return tuple(
                _hidden(row) for row in session.scalars(select(HiddenRowsRow).order_by(*by))
            )

    def allow_rows(self, account: str, sequence: str, task: str | None) -> RowRight:
        """Let somebody see the rows of a task (None: of all of the sequence); again changes nothing.

        Raises:
            NotFound: no such account, sequence or task.
        """
        allow(self.actor, "accounts")
        self._known(sequence, task)
        name = _person(account)
        with self._database.writing() as session:
            if not name.startswith(PROXY):
                known = session.scalar(select(AccountRow.id).where(AccountRow.name == name))
                if known is None:
                    raise NotFound(
                        f"account {name!r}", "an account of this registry, or proxy:NAME"
                    )
            row = session.scalar(_place(name, sequence, task))
            if row is None:
                row = RowRightRow(
                    account=name,
                    sequence=sequence,
                    task=task or _ALL,
                    made_by=self.actor.name,
                    created=now(),
                )
                session.add(row)
            return _right(row)

    def revoke_rows(self, account: str, sequence: str, task: str | None) -> None:
        """Take a right back, as it was given.

        Raises:
            NotFound: it was not given so.
        """
        allow(self.actor, "accounts")
        name = _person(account)
        check_name("sequence", sequence)
        with self._database.writing() as session:
            row = session.scalar(_place(name, sequence, task))
            if row is None:
                where = sequence if task is None else f"{task} of {sequence}"
                raise NotFound(
                    f"right of {name} to the rows of {where}",
                    "one that was given",
                    "`lori rows list` shows them.",
                )
            session.delete(row)

    def hide_rows(self, sequence: str, task: str, reason: str) -> HiddenRows:
        """Let nobody see the rows of a task, whatever his right.

        Raises:
            CheckFailed: they are hidden already.
        """
        allow(self.actor, "accounts")
        said = plain_text("reason", reason)
        self._known(sequence, task)
        with self._database.writing() as session:
            if found := session.scalar(_hiding(sequence, task)):
                raise CheckFailed("rows", f"{task} of {sequence} was hidden by {found.made_by}")
            row = HiddenRowsRow(
                sequence=sequence,
                task=task,
                reason=said,
                made_by=self.actor.name,
                created=now(),
            )
            session.add(row)
            return _hidden(row)

    def unhide_rows(self, sequence: str, task: str) -> None:
        """Let those see the rows of a task again who have the right.

        Raises:
            NotFound: they are not hidden.
        """
        allow(self.actor, "accounts")
        check_name("sequence", sequence)
        check_name("task", task)
        with self._database.writing() as session:
            row = session.scalar(_hiding(sequence, task))
            if row is None:
                raise NotFound(
                    f"hidden rows of {task} of {sequence}", "a task whose rows are hidden"
                )
            session.delete(row)

    def _known(self, sequence: str, task: str | None) -> None:
        tasks = self._registry.sequence(check_name("sequence", sequence)).tasks
        if task is not None and check_name("task", task) not in tasks:
            known = f"one of {', '.join(tasks)}" if tasks else "a task that was declared"
            raise NotFound(f"task {task!r} of {sequence}", known)


def _person(account: str) -> str:
    if account.startswith(PROXY):
        return proxied(account.removeprefix(PROXY))
    return check_name("account", account)


def _place(account: str, sequence: str, task: str | None) -> Select[tuple[RowRightRow]]:
    return select(RowRightRow).where(
        RowRightRow.account == account,
        RowRightRow.sequence == sequence,
        RowRightRow.task == (task or _ALL),
    )


def _hiding(sequence: str, task: str) -> Select[tuple[HiddenRowsRow]]:
    return select(HiddenRowsRow).where(
        HiddenRowsRow.sequence == sequence, HiddenRowsRow.task == task
    )


def _right(row: RowRightRow) -> RowRight:
    return RowRight(
        account=row.account,
        sequence=row.sequence,
        task=row.task or None,
        made_by=row.made_by,
        created=row.created,
    )


def _hidden(row: HiddenRowsRow) -> HiddenRows:
    return HiddenRows(
        sequence=row.sequence,
        task=row.task,
        reason=row.reason,
        made_by=row.made_by,
        created=row.created,
    )
