"""The read side of decisions: what serves, what served then, what waits. Each takes an open session.

Nothing here asks MLflow: our rows are the truth, and one step down an index answers what serves.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session, aliased, joinedload

from lori_core.config import Read
from lori_core.errors import CheckFailed, NotFound
from registry.decision_models import ConfirmationRow, EventRow, ExportRow, PromotionRow, ReportRow
from registry.decisions import (
    BARE_BASE,
    Alias,
    Confirmation,
    EventKind,
    Freeze,
    Promotion,
    PromotionKind,
    PromotionState,
    ServedThen,
    Waiver,
)
from registry.models import Sequence, Version
from registry.moves import last_previous
from registry.plain import LARGEST

STATES: Mapping[str, PromotionState] = {
    "requested": "requested",
    "approved": "approved",
    "rejected": "rejected",
    "applying": "applying",
    "applied": "applied",
    "failed": "failed",
}
"""Kind of entry -> where it leaves a promotion."""


def serving_entry(
    session: Session, sequence: Sequence, alias: Alias, at: datetime | None = None
) -> EventRow | None:
    """The entry that put there what an alias points at, now or at a time."""
    served: Alias = "champion" if alias == "previous" else alias
    wanted = select(EventRow).where(
        EventRow.sequence_id == sequence.id,
        EventRow.alias == served,
        EventRow.kind == "applied",
    )
    if at is not None:
        wanted = wanted.where(EventRow.created <= at)
    newest = wanted.order_by(EventRow.created.desc(), EventRow.position.desc()).limit(1)
    return session.scalar(newest.options(joinedload(EventRow.promotion)))


def serving(session: Session, sequence: Sequence, alias: Alias) -> int | None:
    """The version an alias points at; None where nothing was ever put there.

    Raises:
        CheckFailed: the promotion that put it there was deleted.
    """
    return pointed_at(session, sequence, serving_entry(session, sequence, alias), alias)


def serving_by_log(session: Session, sequence: Sequence, alias: Alias) -> int | None:
    """`serving`, and where its promotion was deleted, what its entry in the log still says of it."""
    entry = serving_entry(session, sequence, alias)
    if entry is None or entry.promotion is not None or alias == "previous":
        return pointed_at(session, sequence, entry, alias)
    return cast(int | None, entry.payload.get("to_version"))


def served_then(session: Session, sequence: Sequence, alias: Alias, at: datetime) -> ServedThen:
    """What an alias pointed at, on whose word, and which servers said by then that they loaded it."""
    entry = serving_entry(session, sequence, alias, at)
    version = pointed_at(session, sequence, entry, alias, at)
    promotion = None if entry is None else promotion_record(session, promotion_of(entry), at)
    loaded = confirmed(session, sequence, version, at) if version is not None else ()
    return ServedThen(
        sequence=sequence.name,
        alias=alias,
        at=at,
        version=version,
        promotion=promotion,
        confirmed=loaded,
    )


def promotions(
    session: Session,
    sequence: Sequence,
    at: datetime | None = None,
    last: int | None = None,
    alias: Alias = "champion",
) -> tuple[Promotion, ...]:
    """An alias's promotions and rollbacks, oldest first, as they stood at a time."""
    wanted = select(PromotionRow).where(
        PromotionRow.sequence_id == sequence.id, PromotionRow.alias == alias
    )
    if at is not None:
        wanted = wanted.where(PromotionRow.created <= at)
    return _records(session, wanted.order_by(PromotionRow.id.desc()).limit(last), at)


def promotions_by_id(
    session: Session, identities: Iterable[int], at: datetime | None = None
) -> tuple[Promotion, ...]:
    """Some promotions, of whatever alias, as they stood at a time; oldest first."""
    wanted = select(PromotionRow).where(PromotionRow.id.in_(sorted(identities)))
    return _records(session, wanted.order_by(PromotionRow.id.desc()), at)


def waiting(
    session: Session,
    sequence: Sequence | None,
    version: int | None = None,
    aliases: Iterable[Alias] = ("champion", "candidate"),
) -> tuple[Promotion, ...]:
    """Requests that wait for a second person, oldest first; of every sequence if none is named."""
    wanted = select(PromotionRow).where(PromotionRow.alias.in_(tuple(aliases)), _unanswered())
    if sequence is not None:
        wanted = wanted.where(PromotionRow.sequence_id == sequence.id)
    if version is not None:
        wanted = wanted.where(PromotionRow.to_version == version)
    return _records(session, wanted.order_by(PromotionRow.id.desc()), None)


def waiting_counts(session: Session, sequence: Sequence | None = None) -> dict[str, int]:
    """Sequence -> how many `waiting` has of it; those without one are left out."""
    wanted = (
        select(Sequence.name, func.count())
        .join(PromotionRow, PromotionRow.sequence_id == Sequence.id)
        .where(_unanswered())
        .group_by(Sequence.name)
        .order_by(Sequence.name)
    )
    if sequence is not None:
        wanted = wanted.where(Sequence.id == sequence.id)
    return dict(session.execute(wanted).tuples().all())


def _unanswered() -> ColumnElement[bool]:
    """Whether nothing but its request is known of a promotion."""
    answer = aliased(EventRow)
    return ~exists().where(answer.promotion_id == PromotionRow.id, answer.kind != "requested")


def promotion_row(session: Session, identity: int) -> PromotionRow:
    """The facts of a promotion that must exist. Raises NotFound when there is none."""
    row = session.get(PromotionRow, identity) if 0 < identity <= LARGEST else None
    if row is None:
        raise NotFound("this promotion", "the id of a promotion", "`lori history S` shows them.")
    return row


def promotion_record(session: Session, row: PromotionRow, at: datetime | None = None) -> Promotion:
    """A promotion and where it stood at a time."""
    wanted = select(PromotionRow).where(PromotionRow.id == row.id)
    (record,) = _records(session, wanted, at)
    return record


def interrupted(session: Session, sequence: Sequence) -> PromotionRow | None:
    """The promotion that began to move its alias and never said how that ended.

    Raises:
        CheckFailed: it was deleted.
    """
    begun = _newest(session, sequence, "applying")
    if begun is None:
        return None
    ended = session.scalar(
        select(EventRow.id)
        .where(
            EventRow.promotion_id == begun.promotion_id, EventRow.kind.in_(("applied", "failed"))
        )
        .limit(1)
    )
    return None if ended is not None else promotion_of(begun)


def newest_step(session: Session, promotion: PromotionRow) -> str:
    """The kind of the newest entry about a promotion: where it stands now."""
    found = session.scalar(
        select(EventRow.kind)
        .where(EventRow.promotion_id == promotion.id)
        .order_by(EventRow.position.desc())
        .limit(1)
    )
    assert found is not None, "a promotion is written with its first entry"
    return found


def newest_version(session: Session, sequence: Sequence) -> int | None:
    """The newest filed version."""
    return session.scalar(
        select(Version.number)
        .where(Version.sequence_id == sequence.id, Version.state == "registered")
        .order_by(Version.number.desc())
        .limit(1)
    )


def last_drift(session: Session, sequence: Sequence, alias: Alias) -> EventRow | None:
    """The entry that says an alias was moved behind our back; None if it has been set by us since."""
    drift = session.scalar(
        select(EventRow)
        .where(
            EventRow.sequence_id == sequence.id, EventRow.alias == alias, EventRow.kind == "drift"
        )
        .order_by(EventRow.created.desc(), EventRow.position.desc())
        .limit(1)
    )
    since = serving_entry(session, sequence, alias)
    if drift is None or (since is not None and since.position > drift.position):
        return None
    return drift


def alias_of(row: PromotionRow) -> Alias:
    """The alias a promotion moves."""
    return cast(Alias, row.alias)


def was_champion(session: Session, sequence: Sequence, version: int) -> bool:
    """Whether a version ever served as champion."""
    done = aliased(EventRow)
    return (
        session.scalar(
            select(PromotionRow.id)
            .where(
                PromotionRow.sequence_id == sequence.id,
                PromotionRow.alias == "champion",
                PromotionRow.to_version == version,
                exists().where(done.promotion_id == PromotionRow.id, done.kind == "applied"),
            )
            .limit(1)
        )
        is not None
    )


def current_freeze(session: Session, sequence: Sequence, at: datetime) -> Freeze | None:
    """The freeze in force at a time, or None: of those since the last thaw, the one that lasts longest.

    Who freezes again may make a freeze longer; to end it early is to thaw.
    """
    return freezes(session, at, sequence).get(sequence.name)


def freezes(session: Session, at: datetime, sequence: Sequence | None = None) -> dict[str, Freeze]:
    """Sequence -> its `current_freeze`; those that are not frozen are left out."""
    ended = (
        select(EventRow.sequence_id, func.max(EventRow.position).label("position"))
        .where(EventRow.kind == "thawed")
        .group_by(EventRow.sequence_id)
    )
    if sequence is not None:
        ended = ended.where(EventRow.sequence_id == sequence.id)
    thawed = ended.subquery()
    wanted = (
        select(Sequence, EventRow)
        .join(EventRow, EventRow.sequence_id == Sequence.id)
        .outerjoin(thawed, thawed.c.sequence_id == Sequence.id)
        .where(
            EventRow.kind == "frozen",
            EventRow.position > func.coalesce(thawed.c.position, 0),
        )
        .order_by(EventRow.position)
    )
    if sequence is not None:
        wanted = wanted.where(Sequence.id == sequence.id)
    longest: dict[str, Freeze] = {}
    for owner, row in session.execute(wanted):
        freeze = _freeze(owner, row)
        known = longest.get(owner.name)
        if freeze.until > at and (known is None or freeze.until > known.until):
            longest[owner.name] = freeze
    return longest


def _freeze(sequence: Sequence, row: EventRow) -> Freeze:
    until = datetime.fromisoformat(str(row.payload["until"]))
    return Freeze(
        sequence=sequence.name, until=until, reason=str(row.payload["reason"]), by=row.actor
    )


def waivers_of(session: Session, sequence: Sequence) -> tuple[Waiver, ...]:
    """Every waiver that was asked for, oldest first, those that have expired too."""
    approved = {
        row.payload["waiver"]: row.actor for row in _of_kind(session, sequence, "waiver-approved")
    }
    return tuple(
        waiver_record(sequence, row, approved.get(row.id))
        for row in _of_kind(session, sequence, "waiver-requested")
    )


def waiver_of(session: Session, identity: int) -> Waiver:
    """One waiver. Raises NotFound when there is none with this id."""
    row = session.get(EventRow, identity) if 0 < identity <= LARGEST else None
    if row is None or row.kind != "waiver-requested":
        raise NotFound("this waiver", "the id of a waiver", "`lori waivers list S` shows them.")
    owner = session.get_one(Sequence, row.sequence_id)
    return next(waiver for waiver in waivers_of(session, owner) if waiver.id == identity)


def waiver_record(sequence: Sequence, row: EventRow, approved_by: str | None) -> Waiver:
    """The entry that asked for a waiver, as a record."""
    return Waiver(
        id=row.id,
        sequence=sequence.name,
        version=cast(int, row.payload["version"]),
        rule=str(row.payload["rule"]),
        reason=str(row.payload["reason"]),
        requested_by=row.actor,
        approved_by=approved_by,
        expires=datetime.fromisoformat(str(row.payload["expires"])),
    )


def live_waivers(
    session: Session, sequence: Sequence, version: int, at: datetime
) -> tuple[Waiver, ...]:
    """The waivers of a version that two persons put in force and that have not expired."""
    return tuple(
        waiver
        for waiver in waivers_of(session, sequence)
        if waiver.version == version and waiver.approved_by is not None and waiver.expires > at
    )


def retired_tasks(session: Session, sequence: Sequence) -> dict[str, datetime]:
    """Task -> when it was retired."""
    return {str(row.payload["task"]): row.created for row in _of_kind(session, sequence, "retired")}


def confirmed(
    session: Session,
    sequence: Sequence,
    version: int | None = None,
    at: datetime | None = None,
) -> tuple[Confirmation, ...]:
    """What servers said they loaded, oldest first; of a time, what they had loaded and said by then."""
    wanted = select(ConfirmationRow).where(ConfirmationRow.sequence_id == sequence.id)
    if version is not None:
        wanted = wanted.where(ConfirmationRow.number == version)
    if at is not None:
        wanted = wanted.where(ConfirmationRow.loaded_at <= at, ConfirmationRow.created <= at)
    return confirmations_of(
        session, sequence, session.scalars(wanted.order_by(ConfirmationRow.id)).all()
    )


def confirmations_of(
    session: Session, sequence: Sequence, rows: Collection[ConfirmationRow]
) -> tuple[Confirmation, ...]:
    """Rows as records, each with whether it names an export of ours."""
    exports = select(ExportRow.number, ExportRow.task, ExportRow.read, ExportRow.sha256).where(
        ExportRow.sequence_id == sequence.id,
        ExportRow.sha256.in_(sorted({row.digest for row in rows})),
    )
    known = {tuple(export) for export in session.execute(exports)}
    return tuple(
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
    )


def _records(
    session: Session, wanted: Select[tuple[PromotionRow]], at: datetime | None
) -> tuple[Promotion, ...]:
    digest = joinedload(PromotionRow.report).load_only(ReportRow.sha256)
    rows = session.scalars(wanted.options(digest)).all()
    told = select(EventRow).where(EventRow.promotion_id.in_([row.id for row in rows]))
    if at is not None:
        told = told.where(EventRow.created <= at)
    events: dict[int, list[EventRow]] = {row.id: [] for row in rows}
    for event in session.scalars(told.order_by(EventRow.sequence_id, EventRow.position)):
        assert event.promotion_id is not None
        events[event.promotion_id].append(event)
    owners = select(Sequence.id, Sequence.name).where(
        Sequence.id.in_({row.sequence_id for row in rows})
    )
    names = {row.id: row.name for row in session.execute(owners)}
    return tuple(_record(names[row.sequence_id], row, events[row.id]) for row in reversed(rows))


def _record(sequence: str, row: PromotionRow, events: list[EventRow]) -> Promotion:
    by_kind = {event.kind: event for event in events}
    ended = by_kind.get("failed") or by_kind.get("rejected")
    applied = by_kind.get("applied")
    approved = by_kind.get("approved")
    return Promotion(
        id=row.id,
        sequence=sequence,
        kind=cast(PromotionKind, row.kind),
        alias=alias_of(row),
        from_version=row.from_version,
        to_version=row.to_version,
        status=STATES[events[-1].kind] if events else "requested",
        requested_by=row.requested_by,
        approved_by=None if approved is None else approved.actor,
        reason=row.reason,
        requested_at=row.created,
        applied_at=None if applied is None else applied.created,
        report_id=row.report_id,
        report_sha256=None if row.report is None else row.report.sha256,
        detail=_detail(by_kind.get("requested"), ended),
    )


def _detail(asked: EventRow | None, ended: EventRow | None) -> str:
    broken = None if asked is None else asked.payload.get("log_broken")
    said = [f"the log was broken: {broken}"] if broken else []
    return "; ".join([*said, *([] if ended is None else [str(ended.payload.get("why", ""))])])


def shown_version(version: int | None) -> str:
    """What serves, for a person."""
    if version is None:
        return "nothing"
    return "the bare base" if version == BARE_BASE else f"version {version}"


def _newest(session: Session, sequence: Sequence, kind: EventKind) -> EventRow | None:
    return session.scalar(
        select(EventRow)
        .where(EventRow.sequence_id == sequence.id, EventRow.kind == kind)
        .order_by(EventRow.position.desc())
        .limit(1)
    )


def _of_kind(session: Session, sequence: Sequence, kind: EventKind) -> list[EventRow]:
    return list(
        session.scalars(
            select(EventRow)
            .where(EventRow.sequence_id == sequence.id, EventRow.kind == kind)
            .order_by(EventRow.position)
        )
    )


def pointed_at(
    session: Session,
    sequence: Sequence,
    entry: EventRow | None,
    alias: Alias,
    at: datetime | None = None,
) -> int | None:
    """The version that an entry, by which an alias was set, leaves it at.

    Raises:
        CheckFailed: its promotion was deleted.
    """
    if entry is None:
        return None
    row = promotion_of(entry)
    if alias != "previous":
        return row.to_version
    # A promotion is the newest move that stands; after a rollback one has to look further back.
    return row.from_version if row.kind == "promote" else last_previous(session, sequence, at)


def promotion_of(entry: EventRow) -> PromotionRow:
    """The promotion that an entry tells of.

    Raises:
        CheckFailed: it was deleted.
    """
    if entry.promotion is None:
        raise CheckFailed(
            "log",
            f"position {entry.position}: promotion {entry.promotion_id}, of which it tells, was"
            " deleted; `lori history S --check` tells all that is wrong",
        )
    return entry.promotion
