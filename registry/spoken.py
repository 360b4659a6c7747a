"""What servers said they loaded, the last word of each, for pages: never more than a page of them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.decided import confirmations_of
from registry.decision_models import ConfirmationRow
from registry.decisions import Confirmation
from registry.models import Sequence as SequenceRow

MOST = 50
"""Servers that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The last word of each server about each task, newest first."""

    confirmations: tuple[Confirmation, ...]
    total: int
    """How many there are, those that are not listed too."""


def last_words(
    session: Session,
    sequence: SequenceRow,
    *,
    version: int | None = None,
    at: datetime | None = None,
) -> Words:
    """What each server (by host and task) said last that it loaded.

    Args:
        session: to read with.
        sequence: whose.
        version: only words about this one; None is any, so that a server that still holds an older
            version is seen to.
        at: only what was loaded and said by then.
    """
    newest = select(func.max(ConfirmationRow.id)).where(ConfirmationRow.sequence_id == sequence.id)
    if version is not None:
        newest = newest.where(ConfirmationRow.number == version)
    if at is not None:
        newest = newest.where(ConfirmationRow.loaded_at <= at, ConfirmationRow.created <= at)
    chosen = newest.group_by(ConfirmationRow.host, ConfirmationRow.task)
    rows = session.scalars(
        select(ConfirmationRow)
        .where(ConfirmationRow.id.in_(chosen))
        .order_by(ConfirmationRow.id.desc())
        .limit(MOST)
    ).all()
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    return Words(confirmations=confirmations_of(session, sequence, rows), total=total)
