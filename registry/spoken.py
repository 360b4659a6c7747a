"""What servers said they loaded, the last word of each, for pages: never more than a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.decision_models import ConfirmationRow, ExportRow
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
    known = _exports(session, sequence, rows)
    return Words(
        confirmations=tuple(
            Confirmation(
                sequence=sequence.name,
                version=row.number,
                task=row.task,
                read=cast(Read, row.read),
                digest=row.digest,
                host=row.host,
                loaded_at=row.loaded_at,
                told_at=row.created,
                matches=(row.number, row.task, row.read, row.digest) in known,
            )
            for row in rows
        ),
        total=total,
    )


def _exports(
    session: Session, sequence: SequenceRow, rows: Sequence[ConfirmationRow]
) -> set[tuple[int, str, str, str]]:
    wanted = select(ExportRow.number, ExportRow.task, ExportRow.read, ExportRow.sha256).where(
        ExportRow.sequence_id == sequence.id,
        ExportRow.sha256.in_(sorted({row.digest for row in rows})),
    )
    return {(number, task, read, sha256) for number, task, read, sha256 in session.execute(wanted)}
