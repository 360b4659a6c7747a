"""Versions that stand on what was rolled back."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from registry.decided import serving
from registry.decision_models import EventRow, PromotionRow
from registry.decisions import BARE_BASE
from registry.models import Certificate, Sequence, Version

FIXED_READS = frozenset({"isolated"})
"""Read modes in which a task's function depends on no other task's entries."""


def stale_versions(
    session: Session, sequence: Sequence, version: int | None = None
) -> dict[int, str]:
    """Versions trained on one that was rolled back and has not been applied again: why, for each.

    A rollback from v to k takes (k, v] back; applying a version brings it, and all it was trained
    on, into use again. To go to the bare base blames no version that served before v: k is then the
    last champion below v, and where none was, only v is taken back. An isolated or separate adapter
    depends on no other.

    Args:
        session: to read with.
        sequence: whose.
        version: look at this one alone.
    """
    if sequence.adapter.get("protection") == "separate":
        return {}
    rolled = _first_rolled_back(session, sequence)
    if rolled is None:
        return {}
    first, last, when, ends = rolled
    trained_on_it = (
        select(Version.number)
        .join(Certificate, Certificate.id == Version.certificate_id)
        .where(
            Version.sequence_id == sequence.id,
            Version.number > first,
            Certificate.read.not_in(FIXED_READS),
        )
        .order_by(Version.number)
    )
    if version is not None:
        trained_on_it = trained_on_it.where(Version.number == version)
    served = _champions(session, sequence)
    taken = (
        f"was rolled back on {when:%Y-%m-%d} and has not served since"
        if first in served
        else f"the rollback from version {last} took out of use on {when:%Y-%m-%d}"
    )
    return {
        each: f"it was trained on version {first}, which {taken};"
        f" {_way_back(sequence.name, each, first, served, ends)}"
        for each in session.scalars(trained_on_it)
    }


def _way_back(
    name: str, version: int, first: int, served: Collection[int], ends: Collection[int]
) -> str:
    """What brings what a version was trained on into use again: to go back asks no gate."""
    to = version if version in served else max((e for e in ends if e < version), default=None)
    if to is None:  # what was rolled back is above it: a rollback there would pass it by
        return f"`lori promote {name}/{first}` asks the gate about that one first"
    return f"`lori rollback {name} --to-version {to}` is the way back"


def _champions(session: Session, sequence: Sequence) -> frozenset[int]:
    """Every version that ever served as champion."""
    wanted = (
        select(PromotionRow.to_version)
        .join(EventRow, EventRow.promotion_id == PromotionRow.id)
        .where(
            PromotionRow.sequence_id == sequence.id,
            PromotionRow.alias == "champion",
            EventRow.kind == "applied",
        )
        .distinct()
    )
    return frozenset(session.scalars(wanted))


class _RolledBack(NamedTuple):
    first: int
    """The lowest version that was rolled back and has not come into use again."""
    champion: int
    """The version that the rollback went back from."""
    when: datetime
    champions: tuple[int, ...]
    """All that were gone back from and are not in use again."""


def _first_rolled_back(session: Session, sequence: Sequence) -> _RolledBack | None:
    """What was rolled back and has not come into use again.

    Only a rollback from above what serves can have left anything; what was applied after it, at its
    highest, says how much is in use again.
    """
    champion = serving(session, sequence, "champion")
    if champion is None:
        return None
    done, later, move = aliased(EventRow), aliased(EventRow), aliased(PromotionRow)
    again = (
        select(move.to_version)
        .join(later, later.promotion_id == move.id)
        .where(
            move.sequence_id == sequence.id,
            move.alias == "champion",
            later.kind == "applied",
            later.position >= done.position,
        )
        .order_by(move.to_version.desc())
        .limit(1)
        .correlate(done)
        .scalar_subquery()
    )
    left = (
        select(
            again, PromotionRow.from_version, PromotionRow.to_version, done.position, done.created
        )
        .join(done, done.promotion_id == PromotionRow.id)
        .where(
            PromotionRow.sequence_id == sequence.id,
            PromotionRow.alias == "champion",
            PromotionRow.kind == "rollback",
            PromotionRow.from_version > champion,
            done.kind == "applied",
            PromotionRow.from_version > again,
        )
        .order_by(done.position)
    )
    ranges = []
    for used, before, to, position, when in session.execute(left):
        spared = _champion_below(session, sequence, before, position) if to == BARE_BASE else 0
        ranges.append((max(used, spared) + 1, before, when))
    if not ranges:
        return None
    first = min(start for start, _, _ in ranges)
    last, when = [(end, when) for start, end, when in ranges if start <= first <= end][-1]
    return _RolledBack(first, last, when, tuple(end for _, end, _ in ranges))


def _champion_below(session: Session, sequence: Sequence, version: int, position: int) -> int:
    """The last champion below a version before a place in the log; where none was, the one below."""
    found = session.scalar(
        select(PromotionRow.to_version)
        .join(EventRow, EventRow.promotion_id == PromotionRow.id)
        .where(
            EventRow.sequence_id == sequence.id,
            EventRow.alias == "champion",
            EventRow.kind == "applied",
            EventRow.position < position,
            PromotionRow.to_version < version,
            PromotionRow.to_version > BARE_BASE,
        )
        .order_by(EventRow.position.desc())
        .limit(1)
    )
    return version - 1 if found is None else found
