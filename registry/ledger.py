"""A sequence's log of decisions: append-only, each entry holding the hash of the one before.

Its length and last hash are also kept outside the database, in a file of the home folder and in tags
of the MLflow model, so that rows cut off at the end are missed. Who can rewrite the database *and*
both anchors can rewrite history; nothing here can find that.

The log may be longer than an anchor (a process died before it wrote one), never shorter.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lori_core.digests import canonical_json, sha256_json, write_json
from lori_core.errors import CheckFailed, Unavailable
from registry import lineage
from registry.clock import now
from registry.decision_models import EventRow, PromotionRow, ReportRow
from registry.decisions import ChainCheck, EventKind, LogEntry
from registry.home import ANCHORS, writable
from registry.models import Sequence, Version
from registry.records import Json
from registry.store import Registry

BEGINNING = "0" * 64
"""What the first entry follows."""

_FIRST_MOVE = ("requested", "applying", "applied")
"""Entries that are anchored together, when the alias is set."""

_END = 8
"""Entries at the end of a log that are looked at before an alias moves."""

LENGTH_TAG, HEAD_TAG = "lori.log_length", "lori.log_head"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What was once the end of a log, remembered outside the database."""

    place: str
    """Where it was read, for a person."""
    length: int
    head: str


def append(
    session: Session,
    sequence: Sequence,
    kind: EventKind,
    actor: str,
    payload: Json,
    promotion: PromotionRow | None = None,
    *,
    alias: str | None = None,
) -> LogEntry:
    """Add an entry to a sequence's log, in the caller's transaction.

    Its time is never before the time of the entry it follows, whatever the clock says.
    """
    last = _last(session, sequence)
    row = EventRow(
        sequence_id=sequence.id,
        position=1 if last is None else last.position + 1,
        kind=kind,
        promotion_id=None if promotion is None else promotion.id,
        alias=alias if promotion is None else promotion.alias,
        actor=actor,
        payload=json.loads(canonical_json(payload)),  # as it will be read back
        created=now() if last is None else max(now(), last.created),
        previous=BEGINNING if last is None else last.sha256,
    )
    row.sha256 = entry_hash(sequence.name, row)
    session.add(row)
    session.flush()
    return log_entry(row)


def entries(session: Session, sequence: Sequence) -> tuple[LogEntry, ...]:
    """A sequence's log from its beginning."""
    return tuple(log_entry(row) for row in _rows(session, sequence))


def entry_hash(sequence: str, row: EventRow) -> str:
    """The hash of an entry: of everything it says, its place, and the hash it follows."""
    return sha256_json(
        {
            "sequence": sequence,
            "position": row.position,
            "kind": row.kind,
            "promotion": row.promotion_id,
            "alias": row.alias,
            "actor": row.actor,
            "created": row.created.astimezone(UTC).isoformat(timespec="microseconds"),
            "payload": row.payload,
            "previous": row.previous,
        }
    )


def facts_hash(sequence: str, row: PromotionRow, report_sha256: str | None) -> str:
    """The hash of what a promotion asked for, by whom, why and on which evidence."""
    return sha256_json(
        {
            "sequence": sequence,
            "kind": row.kind,
            "alias": row.alias,
            "from_version": row.from_version,
            "to_version": row.to_version,
            "requested_by": row.requested_by,
            "reason": row.reason,
            "expected": row.expected,
            "report": report_sha256,
            "created": row.created.astimezone(UTC).isoformat(timespec="microseconds"),
        }
    )


def log_entry(row: EventRow) -> LogEntry:
    """A row of the log as a record."""
    return LogEntry(
        position=row.position,
        kind=cast(EventKind, row.kind),
        promotion=row.promotion_id,
        actor=row.actor,
        at=row.created,
        payload=row.payload,
        previous=row.previous,
        sha256=row.sha256,
    )


def anchor(registry: Registry, sequence: str) -> None:
    """Remember outside the database how the log ends now.

    An anchor that the log contradicts is left as it is: it is the evidence.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        last = _last(session, owner)
        if last is None:
            return
        length, head = last.position, last.sha256
        filed = _is_in_mlflow(session, owner)
        known = file_anchor(registry, sequence)
        if known is None or _holds(session, owner, known):
            place = _anchor_path(registry, sequence)
            with writable(place.parent):
                write_json(place, {"length": length, "head": head})
        if not filed:
            return
        try:
            tagged = _tag_anchor(registry, sequence)
            if tagged is None or _holds(session, owner, tagged):
                tags = {LENGTH_TAG: str(length), HEAD_TAG: head}
                registry.aliases().set_model_tags(registry.model_name(sequence), tags)
        except (Unavailable, CheckFailed):
            return  # MLflow is away or lost the model; what was decided stands, the next tag follows


def check(registry: Registry, sequence: str) -> ChainCheck:
    """Whether a sequence's log, and the facts it tells of, are what they were."""
    # Before the log, which may grow in between and never shrinks.
    anchors = _anchors(registry, sequence)
    if not anchors:
        with registry._database.reading() as session:
            begun = not _only_begun(_rows(session, lineage.known_sequence(session, sequence)))
        if begun:  # the first may have been written in between
            anchors = _anchors(registry, sequence)
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        rows = _rows(session, owner)
        faults = [*_broken_links(owner.name, rows), *_changed_facts(session, owner, rows)]
    for found in anchors:
        faults.extend(_anchor_faults(rows, found))
    if not anchors and not _only_begun(rows):
        faults.append(_unanchored(len(rows)))
    return ChainCheck(
        ok=not faults,
        length=len(rows),
        head=rows[-1].sha256 if rows else BEGINNING,
        faults=tuple(faults),
    )


def check_entries(registry: Registry, sequence: str) -> ChainCheck:
    """Whether every entry is what was written, and follows the one before; a part of `check`.

    It asks the anchor in the home's folder and not MLflow, and reads neither gate reports nor the facts
    of promotions: two queries, cheap enough for a page that is looked at often.
    """
    known = file_anchor(registry, sequence)  # before the log, which may grow
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        rows = _rows(session, owner)
        faults = list(_broken_links(owner.name, rows))
    if known is not None:
        faults.extend(_anchor_faults(rows, known))
    return ChainCheck(
        ok=not faults,
        length=len(rows),
        head=rows[-1].sha256 if rows else BEGINNING,
        faults=tuple(faults),
    )


def end_fault(registry: Registry, sequence: str) -> str | None:
    """The first thing wrong with the end of a log, or None: asked before an alias moves.

    Whatever the length of the log this reads its last entries, those that say what serves, those
    that the anchors remember, and the facts they tell of. `check` reads the whole.
    """
    try:
        anchors, away = _anchors(registry, sequence), False  # before the log, which may grow
    except (
        Unavailable
    ):  # then no alias moves either; who is refused for another reason is told that
        kept_here = file_anchor(registry, sequence)
        anchors, away = [kept_here] if kept_here else [], True
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        newest = _last(session, owner)
        length = 0 if newest is None else newest.position
        mine = select(EventRow).where(EventRow.sequence_id == owner.id)
        end = session.scalars(
            mine.where(EventRow.position > length - _END).order_by(EventRow.position)
        ).all()
        kept = session.scalars(
            mine.where(EventRow.position.in_([each.length for each in anchors]))
        ).all()
        serving = [
            session.scalars(
                mine.where(EventRow.alias == alias, EventRow.kind == "applied")
                .order_by(EventRow.position.desc())
                .limit(1)
            ).first()
            for alias in ("champion", "candidate")
        ]
        rows = sorted({*end, *kept, *filter(None, serving)}, key=lambda row: row.position)
        told_of = {row.promotion_id for row in rows if row.promotion_id is not None}
        asked = session.scalars(
            mine.where(EventRow.promotion_id.in_(told_of), EventRow.kind == "requested")
        )
        rows = sorted({*rows, *asked}, key=lambda row: row.position)
        first = end[0] if end else None
        after = (BEGINNING, 0)
        if first is not None and length > _END:
            after = (first.previous, length - _END)
        found = [
            *(f for each in rows if each not in end for f in _edited(owner.name, each)),
            *_broken_links(owner.name, list(end), *after),
            *_changed_facts(session, owner, rows, only=told_of),
            *(fault for each in anchors for fault in _anchor_faults([*rows], each)),
        ]
        if not anchors and not away and not (length <= _END and _only_begun(list(end))):
            found.append(_unanchored(length))
    return found[0] if found else None


def refuse_broken(registry: Registry, sequence: str) -> None:
    """Return if the end of a log is as it was written.

    Raises:
        CheckFailed: it is not; nothing that stands on it can be decided.
    """
    if (fault := end_fault(registry, sequence)) is not None:
        raise broken(sequence, fault)


def broken(sequence: str, fault: str) -> CheckFailed:
    """The refusal to act on a log that is not what was written."""
    return CheckFailed(
        f"log of {sequence}",
        f"{fault}; `lori history {sequence} --check` tells all that is wrong. Until the registry is"
        " restored from a backup only `lori rollback` with --to-version or --base moves what serves",
    )


def _anchors(registry: Registry, sequence: str) -> list[Anchor]:
    with registry._database.reading() as session:
        filed = _is_in_mlflow(session, lineage.known_sequence(session, sequence))
    tagged = _tag_anchor(registry, sequence) if filed else None
    return [found for found in (file_anchor(registry, sequence), tagged) if found]


def _only_begun(rows: list[EventRow]) -> bool:
    """Whether nothing was anchored yet: a single entry, or the first promotion on its way."""
    return len(rows) <= 1 or (
        len(rows) <= len(_FIRST_MOVE)
        and len({row.promotion_id for row in rows}) == 1
        and tuple(row.kind for row in rows) == _FIRST_MOVE[: len(rows)]
    )


def _unanchored(length: int) -> str:
    return f"position {length}: no anchor outside the database says that the log ends here"


def _edited(sequence: str, row: EventRow) -> Iterator[str]:
    if entry_hash(sequence, row) != row.sha256:
        yield f"position {row.position}: edited or moved ({row.kind} by {row.actor})"


def _broken_links(
    sequence: str, rows: list[EventRow], before: str = BEGINNING, position: int = 0
) -> Iterator[str]:
    """What is wrong between entries, and between the first of them and what it follows."""
    for row in rows:
        if row.position == position:
            yield f"position {position}: there twice"
        for missing in range(position + 1, row.position):
            yield f"position {missing}: deleted"
        follows = row.position == position + 1
        if edited := [*_edited(sequence, row)]:
            yield from edited
        elif follows and row.previous != before:
            yield (
                f"position {position or row.position}: not what position {row.position}"
                " was written after (edited, moved or replaced)"
            )
        before, position = row.sha256, row.position


def _changed_facts(
    session: Session, owner: Sequence, rows: list[EventRow], only: set[int] | None = None
) -> Iterator[str]:
    """What the entries `rows` tell of and is another now; of the promotions `only`, or of all."""
    wanted = select(PromotionRow).where(PromotionRow.sequence_id == owner.id)
    if only is not None:
        wanted = wanted.where(PromotionRow.id.in_(only))
    promotions = {
        row.id: row for row in session.scalars(wanted.options(joinedload(PromotionRow.report)))
    }
    judged_by = {row.report.id: row.report for row in promotions.values() if row.report is not None}
    edited = {each.id for each in judged_by.values() if sha256_json(each.document) != each.sha256}
    asked: set[int | None] = set()
    for row in rows:
        where = f"position {row.position}"
        if row.kind == "approved" and "report" in row.payload:
            said = row.payload.get("report_sha256")
            judged = session.get(ReportRow, row.payload["report"])
            if judged is None or not said == judged.sha256 == sha256_json(judged.document):
                yield f"{where}: the gate report {row.payload['report']} of its approval was edited"
        if row.promotion_id is None:
            continue
        promotion = promotions.get(row.promotion_id)
        if promotion is None:
            yield f"{where}: promotion {row.promotion_id}, of which it tells, was deleted"
            continue
        if row.kind != "requested":
            continue
        asked.add(row.promotion_id)
        report = promotion.report
        if report is not None and report.id in edited:
            yield f"{where}: the gate report of promotion {promotion.id} was edited"
        facts = facts_hash(owner.name, promotion, None if report is None else report.sha256)
        if facts != row.payload.get("facts_sha256"):
            yield f"{where}: the facts of promotion {promotion.id} were edited"
    for identity in sorted(set(promotions) - asked):
        after = rows[-1].position + 1 if rows else 1
        yield f"position {after}: promotion {identity} stands in no entry of the log"


def _anchor_faults(rows: list[EventRow], found: Anchor) -> Iterator[str]:
    there = {row.position: row.sha256 for row in rows}
    last = max(there, default=0)
    if last < found.length:
        span = f"{last + 1}" if last + 1 == found.length else f"{last + 1} to {found.length}"
        yield f"position {span}: cut off ({found.place} knows {found.length} entries)"
    elif found.length in there and there[found.length] != found.head:
        yield f"position {found.length}: not the entry that {found.place} remembers"


def _holds(session: Session, owner: Sequence, known: Anchor) -> bool:
    head = session.scalar(
        select(EventRow.sha256).where(
            EventRow.sequence_id == owner.id, EventRow.position == known.length
        )
    )
    return head == known.head


def _rows(session: Session, owner: Sequence) -> list[EventRow]:
    return list(
        session.scalars(
            select(EventRow)
            .where(EventRow.sequence_id == owner.id)
            .order_by(EventRow.position, EventRow.id)
        )
    )


def _last(session: Session, owner: Sequence) -> EventRow | None:
    return session.scalar(
        select(EventRow)
        .where(EventRow.sequence_id == owner.id)
        .order_by(EventRow.position.desc())
        .limit(1)
    )


def _is_in_mlflow(session: Session, owner: Sequence) -> bool:
    return (
        session.scalar(
            select(Version.id)
            .where(Version.sequence_id == owner.id, Version.state == "registered")
            .limit(1)
        )
        is not None
    )


def _anchor_path(registry: Registry, sequence: str) -> Path:
    return registry.settings.home / ANCHORS / f"{sequence}.json"


def file_anchor(registry: Registry, sequence: str) -> Anchor | None:
    """What the file of a home's folder remembers of a log; None where there is none."""
    place = _anchor_path(registry, sequence)
    if not place.is_file():
        return None
    return _anchor(f"the anchor {place.name}", place.read_text("utf-8"))


def _tag_anchor(registry: Registry, sequence: str) -> Anchor | None:
    tags = registry.aliases().model_tags(registry.model_name(sequence))
    if LENGTH_TAG not in tags:
        return None
    text = f'{{"length": {tags[LENGTH_TAG]}, "head": {json.dumps(tags.get(HEAD_TAG, ""))}}}'
    return _anchor("the MLflow model's tag", text)


def _anchor(place: str, text: str) -> Anchor:
    """What an anchor says; one that was spoilt agrees with no log, which is what there is to say."""
    try:
        said = json.loads(text)
    except ValueError:
        return Anchor(place, 1, "")
    match said:
        case {"length": int(length), "head": str(head)} if length >= 1:
            return Anchor(place, length, head)
    return Anchor(place, 1, "")
