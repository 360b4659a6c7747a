"""The registry in numbers, for who watches it from outside: in a number of queries that never grows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Float, and_, case, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import InstrumentedAttribute, Session

from lori_core.config import Read
from registry.arrival_models import ArrivalRow, HeldSequenceRow, SubmissionRow
from registry.arrival_records import ArrivalState, SubmissionState
from registry.database import Database
from registry.decided import STATES
from registry.decision_models import (
    DeliveryRow,
    EventRow,
    OutboxRow,
    PromotionRow,
    ReportRow,
    WebhookRow,
)
from registry.decisions import Alias, PromotionKind, PromotionState
from registry.models import Sequence, Stage, Version
from registry.overviews import worst_of_each
from registry.store import Registry
from registry.worst_forgetting import WorstForgetting

BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Upper bounds, in seconds, of how long a stage takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTotals:
    """All attempts at one stage, in all sequences."""

    stage: str
    running: int
    failed: int
    finished: int
    seconds: float
    """Of those that finished, together."""
    within: tuple[int, ...]
    """How many of those took at most so long, for each of `BUCKETS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTotal:
    """How many promotions of one kind stand at one state."""

    sequence: str
    kind: PromotionKind
    alias: Alias
    status: PromotionState
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What one webhook has not been told yet."""

    webhook: str
    undelivered: int
    oldest_seconds: float | None
    """Since the oldest of it came about; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The registry in numbers, at one moment."""

    versions: Mapping[str, int]
    """Sequence -> filed versions; every sequence is there."""
    arrivals: Mapping[tuple[str, ArrivalState], int]
    """(sequence, state) -> arrivals, held ones among those that wait."""
    arrivals_held: Mapping[str, int]
    """Sequence -> arrivals that are passed over."""
    oldest_waiting: Mapping[str, float]
    """Sequence -> seconds since its oldest waiting arrival came, the held ones apart."""
    sequences_held: tuple[str, ...]
    submissions: Mapping[SubmissionState, int]
    stages: tuple[StageTotals, ...]
    forgetting: tuple[tuple[str, Read, WorstForgetting], ...]
    """Sequence, the mode it serves, what it lost at worst; the same as on the page of sequences."""
    gates: Mapping[tuple[str, bool], int]
    """(sequence, whether it passed) -> recorded judgements."""
    promotions: tuple[PromotionTotal, ...]
    backlog: tuple[Backlog, ...]


def totals(registry: Registry, now: datetime) -> Totals:
    """Count everything, in one reading of the store."""
    with registry._database.reading() as session:
        waiting = session.execute(
            select(
                ArrivalRow.sequence,
                func.sum(case((ArrivalRow.held, 1), else_=0)),
                func.min(case((ArrivalRow.held.is_(False), ArrivalRow.created))),
            )
            .where(ArrivalRow.state == "waiting")
            .group_by(ArrivalRow.sequence)
        ).all()
        return Totals(
            versions=_versions(session),
            arrivals=_arrivals(session),
            arrivals_held={name: held for name, held, _ in waiting if held},
            oldest_waiting={
                name: _since(oldest, now) for name, _, oldest in waiting if oldest is not None
            },
            sequences_held=tuple(
                session.scalars(select(HeldSequenceRow.sequence).order_by(HeldSequenceRow.sequence))
            ),
            submissions=_submissions(session),
            stages=_stages(session, registry._database),
            forgetting=worst_of_each(registry, session),
            gates=_gates(session),
            promotions=_promotions(session),
            backlog=_backlog(session, now),
        )


def _versions(session: Session) -> dict[str, int]:
    filed = func.sum(case((Version.state == "registered", 1), else_=0))
    rows = session.execute(
        select(Sequence.name, filed)
        .outerjoin(Version, Version.sequence_id == Sequence.id)
        .group_by(Sequence.name)
        .order_by(Sequence.name)
    )
    return {name: int(count) for name, count in rows}


def _arrivals(session: Session) -> dict[tuple[str, ArrivalState], int]:
    place = (ArrivalRow.sequence, ArrivalRow.state)
    rows = session.execute(select(*place, func.count()).group_by(*place).order_by(*place))
    return {(name, cast(ArrivalState, state)): count for name, state, count in rows}


def _submissions(session: Session) -> dict[SubmissionState, int]:
    rows = session.execute(
        select(SubmissionRow.state, func.count())
        .group_by(SubmissionRow.state)
        .order_by(SubmissionRow.state)
    )
    return {cast(SubmissionState, state): count for state, count in rows}


def _stages(session: Session, database: Database) -> tuple[StageTotals, ...]:
    took = _seconds(Stage.started, Stage.finished, database)
    finished = Stage.state == "finished"
    rows = session.execute(
        select(
            Stage.stage,
            _number(Stage.state == "running"),
            _number(Stage.state == "failed"),
            _number(finished),
            func.coalesce(func.sum(case((finished, took))), 0.0),
            *(_number(and_(finished, took <= bound)) for bound in BUCKETS),
        )
        .group_by(Stage.stage)
        .order_by(Stage.stage)
    )
    return tuple(
        StageTotals(
            stage=stage,
            running=running,
            failed=failed,
            finished=done,
            seconds=float(seconds),
            within=tuple(within),
        )
        for stage, running, failed, done, seconds, *within in rows
    )


def _seconds(
    start: InstrumentedAttribute[datetime],
    end: InstrumentedAttribute[datetime | None],
    database: Database,
) -> ColumnElement[float]:
    if database.is_sqlite:
        return (func.julianday(end) - func.julianday(start)) * 86400.0
    return sql_cast(func.extract("epoch", end - start), Float)


def _gates(session: Session) -> dict[tuple[str, bool], int]:
    rows = session.execute(
        select(Sequence.name, ReportRow.ok, func.count())
        .join(Sequence, Sequence.id == ReportRow.sequence_id)
        .group_by(Sequence.name, ReportRow.ok)
        .order_by(Sequence.name, ReportRow.ok)
    )
    return {(name, ok): count for name, ok, count in rows}


def _promotions(session: Session) -> tuple[PromotionTotal, ...]:
    last = (
        select(EventRow.promotion_id, func.max(EventRow.position).label("position"))
        .where(EventRow.promotion_id.is_not(None))
        .group_by(EventRow.promotion_id)
        .subquery()
    )
    group = (Sequence.name, PromotionRow.kind, PromotionRow.alias, EventRow.kind)
    rows = session.execute(
        select(*group, func.count())
        .select_from(EventRow)
        .join(
            last,
            and_(
                EventRow.promotion_id == last.c.promotion_id,
                EventRow.position == last.c.position,
            ),
        )
        .join(PromotionRow, PromotionRow.id == EventRow.promotion_id)
        .join(Sequence, Sequence.id == PromotionRow.sequence_id)
        .group_by(*group)
        .order_by(*group)
    )
    return tuple(
        PromotionTotal(
            sequence=name,
            kind=cast(PromotionKind, kind),
            alias=cast(Alias, alias),
            status=STATES[step],
            count=count,
        )
        for name, kind, alias, step, count in rows
    )


def _backlog(session: Session, now: datetime) -> tuple[Backlog, ...]:
    waits = and_(DeliveryRow.webhook_id == WebhookRow.id, DeliveryRow.delivered.is_(None))
    rows = session.execute(
        select(WebhookRow.name, func.count(DeliveryRow.id), func.min(OutboxRow.created))
        .outerjoin(DeliveryRow, waits)
        .outerjoin(OutboxRow, OutboxRow.id == DeliveryRow.outbox_id)
        .where(WebhookRow.active)
        .group_by(WebhookRow.name)
        .order_by(WebhookRow.name)
    )
    return tuple(
        Backlog(
            webhook=name,
            undelivered=count,
            oldest_seconds=None if oldest is None else _since(oldest, now),
        )
        for name, count, oldest in rows
    )


def _number(where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((where, 1), else_=0))


def _since(at: datetime, now: datetime) -> float:
    return max((now - at).total_seconds(), 0.0)
