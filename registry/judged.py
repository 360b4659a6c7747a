"""What the gate answered last about each version, without its rules: one row each, for overviews."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry import lineage
from registry.decision_models import ReportRow
from registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A gate report in short."""

    report: int
    """Its id."""
    ok: bool
    at: datetime


def last_answers(registry: Registry, sequence: str) -> Mapping[int, Answer]:
    """Version -> the newest recorded report about it; versions that were never judged are left out.

    Raises:
        NotFound: there is no such sequence.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        return answers_of(session, owner.id)


def answers_of(
    session: Session, sequence_id: int, versions: Collection[int] | None = None
) -> dict[int, Answer]:
    """`last_answers` in an open session, of some versions or (None) of every one."""
    newest = (
        select(func.max(ReportRow.id))
        .where(ReportRow.sequence_id == sequence_id)
        .group_by(ReportRow.number)
    )
    if versions is not None:
        newest = newest.where(ReportRow.number.in_(versions))
    rows = session.execute(
        select(ReportRow.number, ReportRow.id, ReportRow.ok, ReportRow.created).where(
            ReportRow.id.in_(newest)
        )
    )
    return {number: Answer(report=id_, ok=ok, at=at) for number, id_, ok, at in rows}
