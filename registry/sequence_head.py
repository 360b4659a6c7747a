"""What a sequence is, what serves of it, and what its gate said last."""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from lori_core.config import Read
from lori_core.errors import BadInput, CheckFailed
from registry import decided, lineage
from registry.clock import now
from registry.decision_models import ReportRow
from registry.gate_view import why_stale
from registry.gating.policy import policy_of_record
from registry.models import Sequence as SequenceRow
from registry.sequence_records import GateBrief, SequenceHead
from registry.version_rows import VersionRow

REFUSING = 5
"""Rules of a gate report that are told here; its own page has them all."""


def sequence_head(
    session: Session,
    owner: SequenceRow,
    serves: Read,
    tasks: int,
    versions: Sequence[VersionRow],
) -> SequenceHead:
    """What it is, and what serves: by our rows; where those contradict the log, it says so."""
    filed = [each for each in versions if each.filed]
    champion = candidate = previous = since = fault = logged = None
    try:
        entry = decided.serving_entry(session, owner, "champion")
        champion = decided.serving(session, owner, "champion")
        candidate = decided.serving(session, owner, "candidate")
        previous = decided.serving(session, owner, "previous")
        since = None if entry is None else entry.created
    except CheckFailed as error:
        fault = str(error)
        logged = decided.serving_by_log(session, owner, "champion")
    return SequenceHead(
        name=owner.name,
        base_path=owner.base_path,
        base_digest=owner.base_digest,
        protection=str(owner.adapter.get("protection", "disjoint")),
        trained_read=serves,
        tasks=tasks,
        learned=len(filed),
        newest=filed[-1].version if filed else None,
        newest_task=filed[-1].task if filed else None,
        champion=champion,
        champion_since=since,
        candidate=candidate,
        previous=previous,
        fault=fault,
        logged_champion=logged,
        requests=decided.waiting_counts(session, owner).get(owner.name, 0),
        frozen=decided.current_freeze(session, owner, now()),
    )


def gate_brief(
    session: Session, sequence_id: int, newest: int | None
) -> tuple[GateBrief | None, dict[int, bool]]:
    """What was answered last about the newest version, and version -> its last answer."""
    last = (
        select(func.max(ReportRow.id))
        .where(ReportRow.sequence_id == sequence_id)
        .group_by(ReportRow.number)
    )
    rows = session.execute(
        select(ReportRow.id, ReportRow.number, ReportRow.ok, ReportRow.created).where(
            ReportRow.id.in_(last)
        )
    ).all()
    verdicts = {number: ok for _, number, ok, _ in rows}
    mine = next((row for row in rows if row.number == newest), None)
    if mine is None:
        return None, verdicts
    row = session.get_one(ReportRow, mine.id, options=[joinedload(ReportRow.policy)])
    rules = cast("list[dict[str, Any]]", row.document.get("rules", []))
    refusing = [rule for rule in rules if not rule["ok"]]
    brief = GateBrief(
        version=mine.number,
        ok=mine.ok,
        at=mine.created,
        rules=len(rules),
        passed=sum(rule["verdict"] == "pass" for rule in rules),
        undefined=sum(rule["ok"] and rule["verdict"] == "undefined" for rule in rules),
        refusals=len(refusing),
        refusing=tuple(
            (str(rule["rule"]), str(rule["verdict"]), str(rule["why"]))
            for rule in refusing[:REFUSING]
        ),
        stale=_stale(session, row),
    )
    return brief, verdicts


def _stale(session: Session, row: ReportRow) -> tuple[str, ...]:
    owner = session.get_one(SequenceRow, row.sequence_id)
    try:
        policy = policy_of_record(lineage.sequence_record(session, owner))
    except BadInput as error:  # the promotions page says no more; this one has more to show
        return (f"what the gate asks now cannot be told: {error}",)
    return tuple(why_stale(row, decided.serving_by_log(session, owner, "champion"), policy))
