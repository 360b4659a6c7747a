"""How an arrival goes from state to state, inside the transaction of whoever moves it.

`registry.arrivals` is the door; nothing here opens a session or asks whose turn it is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lori_core.errors import BadInput
from registry import outbox
from registry.arrival_models import ArrivalRow, HeldSequenceRow
from registry.arrival_records import OUT, ArrivalState
from registry.arrival_rows import said
from registry.fence import Fence, moment
from registry.lineage import find_sequence
from registry.waits import doubled

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)

MOST_ATTEMPTS = 8
"""Attempts that may be lost (killed, or without a word) before an arrival fails."""

STUCK = 4
"""At this attempt somebody is told; it goes on being tried."""


def wait_after(attempt: int) -> timedelta:
    """How long an arrival waits after its attempt of this number: doubled each time, up to a bound."""
    return doubled(FIRST_WAIT, LONGEST_WAIT, attempt)


def next_ones(session: Session, *, ended: int | None = None) -> list[int]:
    """The arrivals whose turn it is: one of each sequence that is idle, not held and not blocked.

    The arrival `ended` is taken for over.
    """
    out = select(ArrivalRow.sequence).where(
        ArrivalRow.state.in_(OUT), ArrivalRow.id != (ended or 0)
    )
    closed = set(session.scalars(out))
    closed.update(blocked_ones(session))
    closed.update(session.scalars(select(HeldSequenceRow.sequence)))
    now, found = moment(session), []
    waiting = session.execute(
        select(ArrivalRow.id, ArrivalRow.sequence, ArrivalRow.not_before)
        .where(ArrivalRow.state == "waiting", ArrivalRow.held.is_(False))
        .order_by(ArrivalRow.priority.desc(), ArrivalRow.id)
    )
    for arrival_id, sequence, not_before in waiting:
        if sequence in closed:
            continue
        closed.add(sequence)
        if not_before is None or not_before <= now:
            found.append(arrival_id)
    return found


def successor(session: Session, ended: ArrivalRow) -> ArrivalRow | None:
    """What the run of an arrival that ends now may go on with, in the process it has.

    The next one of the same sequence and queue, if it would be given out now; None too while another
    sequence waits for a worker of the same kind: a process that went on would let it starve.
    """
    turns = next_ones(session, ended=ended.id)
    due = session.scalars(select(ArrivalRow).where(ArrivalRow.id.in_(turns)))
    untaken = session.scalars(select(ArrivalRow).where(ArrivalRow.state == "dispatched"))
    found = None
    for row in (*due, *untaken):
        if row.sequence == ended.sequence:
            found = row if row.state == "waiting" and row.queue == ended.queue else None
        elif _kind(row.queue) == _kind(ended.queue):
            return None
    return found


def _kind(queue: str) -> str:
    """What kind of worker serves a queue: `cpu`, or `gpu` for all of `gpu-1`, `gpu-2`, ..."""
    return queue.partition("-")[0]


def give_out(row: ArrivalRow, now: datetime) -> None:
    """Give an arrival its turn, under a token nobody has."""
    row.state, row.dispatched = "dispatched", now
    row.token += 1
    row.attempt += 1
    row.not_before = row.flow_run_id = None


def blocked_ones(session: Session) -> dict[str, int]:
    """Sequence -> its first failed arrival."""
    rows = session.execute(
        select(ArrivalRow.sequence, func.min(ArrivalRow.id))
        .where(ArrivalRow.state == "failed")
        .group_by(ArrivalRow.sequence)
        .order_by(ArrivalRow.sequence)
    )
    return {str(sequence): int(first) for sequence, first in rows}


def over(session: Session) -> Sequence[ArrivalRow]:
    """Arrivals whose run let its lease pass."""
    return session.scalars(
        select(ArrivalRow)
        .where(ArrivalRow.state == "running", ArrivalRow.lease_until <= moment(session))
        .order_by(ArrivalRow.id)
    ).all()


def without_a_word(session: Session, row: ArrivalRow, reason: str, most: int) -> None:
    """What becomes of an arrival whose run ended and said nothing."""
    row.lost += 1
    if row.cancel_requested:
        row.token += 1
        end(session, row, "cancelled")
    elif row.lost >= most:
        row.token += 1
        fail(session, row, f"{row.lost} attempts ended without a word; of the last: {reason}")
    else:
        put_back(session, row, reason, wait_after(row.lost))


def put_back(session: Session, row: ArrivalRow, reason: str, wait: timedelta) -> None:
    """Let an arrival wait for its turn again, under a token nobody has; or end it, if that was asked for."""
    row.token += 1
    if row.cancel_requested:
        end(session, row, "cancelled")
        return
    row.state, row.reason = "waiting", said(reason)
    row.not_before = moment(session) + wait if wait else None
    row.flow_run_id = row.holder = row.lease_until = row.heartbeat = None
    if wait and row.attempt == STUCK:
        _tell(session, row, outbox.ARRIVAL_STUCK)


def fail(session: Session, row: ArrivalRow, reason: str) -> None:
    """End an arrival as failed, and tell who wants to know."""
    row.reason = said(reason)
    end(session, row, "failed")
    _tell(session, row, outbox.ARRIVAL_FAILED)


def end(session: Session, row: ArrivalRow, state: ArrivalState) -> None:
    """Bring an arrival to a state in which it waits for nothing."""
    row.state, row.finished = state, moment(session)
    row.lease_until = row.not_before = None
    row.held = False


def said_before(session: Session, fence: Fence, state: ArrivalState) -> bool:
    """Whether this very run said so before: its first answer may have been lost on the way."""
    row = session.get(ArrivalRow, fence.arrival)
    return row is not None and row.token == fence.token and row.state == state


def _tell(session: Session, row: ArrivalRow, kind: str) -> None:
    told = {
        "arrival": row.id,
        "sequence": row.sequence,
        "task": row.task,
        "attempt": row.attempt,
        "reason": row.reason,
    }
    outbox.enqueue(session, find_sequence(session, row.sequence), kind, told)


def expect(row: ArrivalRow, verb: str, states: tuple[ArrivalState, ...]) -> None:
    """Return if an arrival is in one of these states. Raises BadInput, saying which it is in."""
    if row.state not in states:
        raise BadInput(
            f"arrival {row.id} is {row.state}: it cannot be {verb}",
            f"one that is {' or '.join(states)}",
        )


def refuse_known_name(session: Session, sequence: str, task: str) -> None:
    """Return if no arrival of a sequence has this task's name, the cancelled ones apart."""
    known = session.execute(
        select(ArrivalRow.id, ArrivalRow.state).where(
            ArrivalRow.sequence == sequence,
            ArrivalRow.task == task,
            ArrivalRow.state != "cancelled",
        )
    ).first()
    if known is not None:
        raise BadInput(
            f"task {task!r} of {sequence}: arrival {known[0]} ({known[1]}) has this name",
            "a name of its own",
            "Name the new task otherwise, or cancel the other one.",
        )
