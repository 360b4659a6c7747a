"""The champion before: what `@previous` names and a `rollback` without a target goes back to.

Each move of the champion (a promotion, or a rollback to a version of somebody's choice, or to the bare
base) puts one version in the place of another. A rollback to what the newest move replaced takes that
move back. `@previous` is what the newest move that still stands replaced: the champion that served
right before the present one was put there. So two rollbacks in a row go two champions back, never to
what the first of them left, and a rollback from the bare base goes to the champion before it.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.decision_models import EventRow, PromotionRow
from registry.models import Sequence

Move = tuple[str, int | None, int]
"""Kind of promotion, what served, what was put in its place."""


def previous_after(moves: Iterable[Move]) -> int | None:
    """What `@previous` names after these moves of the champion, oldest first; None for nothing."""
    replaced: list[int | None] = []
    for kind, before, after in moves:
        if kind == "rollback" and replaced and replaced[-1] == after:
            replaced.pop()
        else:
            replaced.append(before)
    return replaced[-1] if replaced else None


def champion_moves(
    session: Session, sequence: Sequence, at: datetime | None = None
) -> tuple[Move, ...]:
    """Every move of the champion that was applied by a time, oldest first."""
    wanted = (
        select(PromotionRow.kind, PromotionRow.from_version, PromotionRow.to_version)
        .join(EventRow, EventRow.promotion_id == PromotionRow.id)
        .where(
            EventRow.sequence_id == sequence.id,
            EventRow.alias == "champion",
            EventRow.kind == "applied",
        )
        .order_by(EventRow.position)
    )
    if at is not None:
        wanted = wanted.where(EventRow.created <= at)
    return tuple((kind, before, after) for kind, before, after in session.execute(wanted))


def last_previous(session: Session, sequence: Sequence, at: datetime | None = None) -> int | None:
    """What `@previous` names, now or at a time."""
    return previous_after(champion_moves(session, sequence, at))


def previous_with(session: Session, sequence: Sequence, move: Move) -> int | None:
    """What `@previous` will name when the champion is moved once more."""
    if move[0] == "promote":
        return move[1]
    return previous_after((*champion_moves(session, sequence), move))
