"""What happened to a sequence's aliases, newest first: moves, the gate's answers, freezes, waivers, drift.

A page of it costs the same number of queries whatever the length of the history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Select, func, literal, select, union_all
from sqlalchemy.orm import Session, defer

from registry import decided, ledger
from registry.decision_models import EventRow, PromotionRow, ReportRow
from registry.decisions import LogEntry, Promotion
from registry.models import Sequence
from registry.records import Json

What = Literal["promotion", "report", "log"]
Shown = Literal["all", "moves", "judged", "log"]
"""`moves` of an alias, what the gate answered where nothing moved (`judged`), and the rest of the `log`."""

_OF: Mapping[Shown, tuple[What, ...]] = {
    "all": ("promotion", "report", "log"),
    "moves": ("promotion",),
    "judged": ("report",),
    "log": ("log",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A gate report in a line."""

    id: int
    version: int
    champion: int | None
    ok: bool
    at: datetime
    by: str
    refused: tuple[str, ...]
    """The rules that refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened; exactly one of the three is there."""

    at: datetime
    promotion: Promotion | None = None
    steps: tuple[LogEntry, ...] = ()
    """Of the promotion: its entries in the log."""
    judged: Judged | None = None
    entry: LogEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A page of the history."""

    shown: Shown
    page: int
    size: int
    total: int
    happenings: tuple[Happening, ...]


def timeline(
    session: Session,
    sequence: Sequence,
    *,
    shown: Shown = "all",
    page: int = 1,
    size: int = 25,
    at: datetime | None = None,
) -> Timeline:
    """A page of what happened up to a time, newest first; promotions as they stood then."""
    everything = union_all(*(_places(what, sequence, at) for what in _OF[shown])).subquery()
    total = session.scalar(select(func.count()).select_from(everything)) or 0
    last = max(1, -(-total // size))
    page = min(page, last)
    chosen = session.execute(
        select(everything.c.what, everything.c.id)
        .order_by(everything.c.at.desc(), everything.c.what, everything.c.id.desc())
        .limit(size)
        .offset((page - 1) * size)
    ).all()
    ids = {what: [row.id for row in chosen if row.what == what] for what in _OF["all"]}
    told = {
        **_promotions(session, ids["promotion"], at),
        **_reports(session, ids["report"]),
        **_entries(session, ids["log"]),
    }
    return Timeline(
        shown=shown,
        page=page,
        size=size,
        total=total,
        happenings=tuple(told[cast(What, row.what), row.id] for row in chosen),
    )


_Rows = type[PromotionRow] | type[ReportRow] | type[EventRow]
_ROWS: Mapping[What, _Rows] = {"promotion": PromotionRow, "report": ReportRow, "log": EventRow}


def _places(what: What, sequence: Sequence, at: datetime | None) -> Select[Any]:
    table = _ROWS[what]
    wanted = select(table.created.label("at"), literal(what).label("what"), table.id.label("id"))
    wanted = wanted.where(table.sequence_id == sequence.id)
    if what == "report":  # one that a move stands on is told with the move
        stood_on = select(PromotionRow.report_id).where(
            PromotionRow.sequence_id == sequence.id, PromotionRow.report_id.is_not(None)
        )
        if at is not None:  # a move that came later tells nothing yet
            stood_on = stood_on.where(PromotionRow.created <= at)
        wanted = wanted.where(ReportRow.id.not_in(stood_on))
    if what == "log":
        wanted = wanted.where(EventRow.promotion_id.is_(None))
    return wanted if at is None else wanted.where(table.created <= at)


_Told = dict[tuple[What, int], Happening]


def _promotions(session: Session, ids: list[int], at: datetime | None) -> _Told:
    steps = select(EventRow).where(EventRow.promotion_id.in_(ids)).order_by(EventRow.position)
    if at is not None:
        steps = steps.where(EventRow.created <= at)
    of: dict[int | None, list[LogEntry]] = {}
    for row in session.scalars(steps):
        of.setdefault(row.promotion_id, []).append(ledger.log_entry(row))
    return {
        ("promotion", each.id): Happening(
            at=each.requested_at, promotion=each, steps=tuple(of.get(each.id, ()))
        )
        for each in decided.promotions_by_id(session, ids, at)
    }


def _reports(session: Session, ids: list[int]) -> _Told:
    light = select(ReportRow).where(ReportRow.id.in_(ids)).options(defer(ReportRow.document))
    rows = session.scalars(light).all()
    refused = [row.id for row in rows if not row.ok]
    documents = {
        row.id: row.document
        for row in session.execute(
            select(ReportRow.id, ReportRow.document).where(ReportRow.id.in_(refused))
        )
    }
    return {
        ("report", row.id): Happening(at=row.created, judged=_line(row, documents.get(row.id)))
        for row in rows
    }


def _line(row: ReportRow, document: Json | None) -> Judged:
    rules = () if document is None else cast(list[Mapping[str, object]], document["rules"])
    return Judged(
        id=row.id,
        version=row.number,
        champion=row.champion,
        ok=row.ok,
        at=row.created,
        by=row.created_by,
        refused=tuple(str(rule["rule"]) for rule in rules if not rule["ok"]),
    )


def _entries(session: Session, ids: list[int]) -> _Told:
    return {
        ("log", row.id): Happening(at=row.created, entry=ledger.log_entry(row))
        for row in session.scalars(select(EventRow).where(EventRow.id.in_(ids)))
    }
