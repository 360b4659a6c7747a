"""The fence: whoever lost his turn can write nothing any more, whatever he believes.

An arrival that is given out gets a new token. The run that takes it holds a lease, and every write of
its registry (`Registry.fenced`) first asks, in the same transaction, whether the arrival still has this
token, is running, and its lease is not over. Writers take turns (`registry.database`), so nobody else
can be given the arrival between that question and the commit.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from lori_core.errors import LoriError
from registry.arrival_models import ArrivalRow
from registry.clock import now as read_clock
from registry.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Whose turn it is: an arrival, and the token it was given out under."""

    arrival: int
    token: int


class FenceLost(LoriError):
    """The turn is over: another attempt has it, or nobody. What was begun under it must stop."""

    def __init__(self, arrival: int, token: int, why: str) -> None:
        super().__init__(arrival, token, why)
        self.arrival, self.token, self.why = arrival, token, why

    def __str__(self) -> str:
        """Name the arrival, the token, and what ended the turn."""
        return f"arrival {self.arrival} is no longer held by token {self.token}: {self.why}"


def moment(session: Session) -> datetime:
    """The time by the database's own clock (SQLite has none: this host's)."""
    if session.get_bind().dialect.name == "sqlite":
        return read_clock()
    found = session.scalar(select(func.clock_timestamp()))
    assert isinstance(found, datetime)
    return found


def still_held(session: Session, fence: Fence) -> ArrivalRow:
    """The row of an arrival whose turn it still is.

    Raises:
        FenceLost: another token, another state, or a lease that is over.
    """
    row = session.get(ArrivalRow, fence.arrival, populate_existing=True)
    if row is None:
        raise FenceLost(fence.arrival, fence.token, "there is no such arrival")
    _refuse_lost(session, fence, row.token, row.state, row.lease_until)
    return row


def check(session: Session, fence: Fence) -> None:
    """Return if it is still the turn of this fence: what every fenced write asks first.

    Raises:
        FenceLost: as `still_held`.
    """
    found = session.execute(
        select(ArrivalRow.token, ArrivalRow.state, ArrivalRow.lease_until).where(
            ArrivalRow.id == fence.arrival
        )
    ).one_or_none()
    if found is None:
        raise FenceLost(fence.arrival, fence.token, "there is no such arrival")
    _refuse_lost(session, fence, *found)


def _refuse_lost(
    session: Session, fence: Fence, token: int, state: str, lease_until: datetime | None
) -> None:
    if token != fence.token:
        raise FenceLost(fence.arrival, fence.token, f"it is at token {token} ({state})")
    if state != "running":
        raise FenceLost(fence.arrival, fence.token, f"it is {state}")
    if lease_until is None or lease_until <= moment(session):
        raise FenceLost(fence.arrival, fence.token, f"its lease was over at {lease_until}")


def end_others(session: Session, fence: Fence) -> None:
    """End what older attempts at an arrival hold on a PostgreSQL server: a stopped one holds locks.

    On SQLite locks are files of this host; they go with the process that holds them.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    session.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = current_user AND pid <> pg_backend_pid()"
            " AND starts_with(application_name, :arrival) AND application_name <> :own"
        ),
        {"arrival": f"lori-arrival-{fence.arrival}-", "own": holder_name(fence)},
    )


def holder_name(fence: Fence) -> str:
    """What PostgreSQL knows the locks of a run by."""
    return f"lori-arrival-{fence.arrival}-{fence.token}"


@dataclass(frozen=True, slots=True)
class Guard:
    """Asks before each write of one run, in our own store's transaction or before a write to MLflow."""

    fence: Fence
    database: Database = field(repr=False)

    def in_transaction(self, session: Session) -> None:
        """Before a write to our own store, in its transaction."""
        check(session, self.fence)

    def __call__(self) -> None:
        """Before a write to MLflow, which knows nothing of our transactions."""
        with self.database.reading() as session:
            check(session, self.fence)
