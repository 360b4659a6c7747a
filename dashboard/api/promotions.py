"""What serves: gate, promotion, approval, rollback, and the log of all that."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.bodies import GateBody, Name, PromoteBody, ReasonBody, RollbackBody, Time
from dashboard.office import (
    KnownSequence,
    ReadingDesk,
    RowNumber,
    WritingDesk,
)
from registry.decisions import (
    Alias,
    ChainCheck,
    GateReport,
    LogEntry,
    Promotion,
    ServedThen,
)
from registry.desk import Desk
from registry.plain import LARGEST

router = APIRouter(prefix="/api", tags=["promotions"])

OptionalVersion = Annotated[int | None, Query(ge=0, le=LARGEST)]


@router.get("/sequences/{sequence}/gate")
def compute_gate(
    desk: ReadingDesk, sequence: KnownSequence, version: OptionalVersion = None
) -> GateReport:
    """Judge a version (the newest, if none is named) and record nothing."""
    viewer = Desk(desk.registry, replace(desk.actor, role="viewer"))  # whose reports are not kept
    return viewer.gate(sequence, version)


@router.post("/sequences/{sequence}/gate")
def gate(desk: WritingDesk, sequence: KnownSequence, body: GateBody) -> GateReport:
    """Judge a version and record the report; a viewer's is not recorded."""
    return desk.gate(sequence, body.version)


@router.get("/sequences/{sequence}/promotions")
def history(
    desk: ReadingDesk,
    sequence: KnownSequence,
    at: Annotated[Time | None, Query()] = None,
    last: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> tuple[Promotion, ...]:
    """Promotions and rollbacks as they stood at a time, oldest first; only the `last` so many."""
    return desk.history(sequence, at, last=last)


@router.post("/sequences/{sequence}/promotions")
def promote(desk: WritingDesk, sequence: KnownSequence, body: PromoteBody) -> Promotion:
    """Ask for a version to serve: `applied`, or `requested` where a second person must approve."""
    return desk.promote(sequence, body.version, reason=body.reason, to=body.to, expect=body.expect)


@router.post("/sequences/{sequence}/rollback")
def rollback(desk: WritingDesk, sequence: KnownSequence, body: RollbackBody) -> Promotion:
    """Back to the previous champion, to a version, or to the bare base (0)."""
    return desk.rollback(
        sequence, reason=body.reason, to_version=body.to_version, expect=body.expect
    )


@router.get("/sequences/{sequence}/aliases/{alias}")
def alias(desk: ReadingDesk, sequence: KnownSequence, alias: Alias) -> dict[str, int | None]:
    """The version an alias points at, by our own rows: `{"version": 3}`; 0 is the bare base."""
    return {"version": desk.champion(sequence, alias)}


@router.get("/sequences/{sequence}/served")
def served(
    desk: ReadingDesk, sequence: KnownSequence, at: Time, alias: Alias = "champion"
) -> ServedThen:
    """What an alias pointed at, at a time, and which servers said they loaded it."""
    return desk.served(sequence, alias, at)


@router.get("/sequences/{sequence}/stale")
def stale(desk: ReadingDesk, sequence: KnownSequence) -> dict[int, str]:
    """Versions that stand on rolled back ones, and why."""
    return dict(desk.stale(sequence))


@router.get("/sequences/{sequence}/log")
def log(desk: ReadingDesk, sequence: KnownSequence) -> tuple[LogEntry, ...]:
    """Every entry of the log."""
    return desk.log(sequence)


@router.get("/sequences/{sequence}/log/check")
def check(desk: ReadingDesk, sequence: KnownSequence) -> ChainCheck:
    """Whether the log is what it was."""
    return desk.check_history(sequence)


@router.get("/promotions/pending")
def pending(
    desk: ReadingDesk, sequence: Annotated[Name | None, Query()] = None
) -> tuple[Promotion, ...]:
    """Requests that wait for approval."""
    return desk.pending(sequence)


@router.post("/promotions/{promotion}/approve")
def approve(desk: WritingDesk, promotion: RowNumber, body: ReasonBody) -> Promotion:
    """Approve another person's request, which applies it."""
    return desk.approve(promotion, reason=body.reason)


@router.post("/promotions/{promotion}/reject")
def reject(desk: WritingDesk, promotion: RowNumber, body: ReasonBody) -> Promotion:
    """Turn a request down."""
    return desk.reject(promotion, reason=body.reason)
