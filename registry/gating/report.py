"""Gate reports, kept for ever with the policy they were judged by; and how often a test set was used.

A test set that decides often is no test set any more: every recorded report counts, of whatever
sequence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from lori_core.digests import canonical_json, sha256_json
from registry import lineage
from registry.clock import now
from registry.decision_models import PolicyRow, ReportRow, UseRow
from registry.decisions import GateReport, RuleResult
from registry.gating.policy import policy_document
from registry.models import Sequence
from registry.outbox import GATE_REFUSED, enqueue
from registry.records import Json
from registry.store import Registry


def record(registry: Registry, report: GateReport, by: str) -> GateReport:
    """Keep a report that `by` asked for, and its policy if the sequence was never judged by it.

    One that says nothing new (policy, champion, rules and cells are those of the version's newest) is
    not kept twice, and uses no test set again: the one that is kept answers.

    Returns the report with its id, digest, time and the policy's version.
    """
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, report.sequence)
        policy = _policy(session, owner, report, by)
        judged = replace(report, policy=replace(report.policy, version=policy.version))
        document = report_document(judged)
        if (known := _newest(session, owner, report.version)) and _same(known.document, document):
            uses = cast(Mapping[str, int], known.document["test_uses"])
            return replace(
                judged, id=known.id, sha256=known.sha256, created=known.created, test_uses=uses
            )
        row = ReportRow(
            sequence_id=owner.id,
            number=report.version,
            policy_id=policy.id,
            champion=report.champion,
            ok=report.ok,
            document=document,
            sha256=sha256_json(document),
            tests=dict(report.tests),
            created=now(),
            created_by=by,
        )
        session.add(row)
        session.flush()
        if not report.ok:
            _tell(session, owner, judged, by)
        if used := [
            {"report_id": row.id, "digest": each} for each in sorted(set(report.tests.values()))
        ]:
            session.execute(insert(UseRow), used)
        return replace(judged, id=row.id, sha256=row.sha256, created=row.created)


def _tell(session: Session, owner: Sequence, report: GateReport, by: str) -> None:
    refusing = [rule.rule for rule in report.rules if not rule.ok]
    told = {"sequence": report.sequence, "version": report.version, "rules": refusing, "by": by}
    enqueue(session, owner, GATE_REFUSED, told)


def _newest(session: Session, owner: Sequence, number: int) -> ReportRow | None:
    return session.scalar(
        select(ReportRow)
        .where(ReportRow.sequence_id == owner.id, ReportRow.number == number)
        .order_by(ReportRow.id.desc())
        .limit(1)
    )


def _same(kept: Json, document: Json) -> bool:
    """Whether two reports say the same, but for how often test sets had been used by then."""
    mine, theirs = (
        canonical_json({key: said for key, said in each.items() if key != "test_uses"})
        for each in (document, kept)
    )
    return mine == theirs


def report_document(report: GateReport) -> dict[str, object]:
    """A report as JSON: what its digest is of, without the id, digest and time it is filed under."""
    policy = {**policy_document(report.policy), "version": report.policy.version}
    return {
        "sequence": report.sequence,
        "version": report.version,
        "champion": report.champion,
        "policy": policy,
        "ok": report.ok,
        "rules": [_rule_document(rule) for rule in report.rules],
        "test_uses": dict(report.test_uses),
        "tests": dict(report.tests),
        "evidence": dict(report.evidence),
    }


def _rule_document(rule: RuleResult) -> dict[str, object]:
    """As `dataclasses.asdict` says it, which copies each figure: there may be thousands of rules."""
    return {
        "rule": rule.rule,
        "figure": rule.figure,
        "bound": rule.bound,
        "limit": rule.limit,
        "ok": rule.ok,
        "verdict": rule.verdict,
        "why": rule.why,
        "n": rule.n,
        "needed": rule.needed,
        "waived": rule.waived,
    }


def times_used(registry: Registry, tests: Mapping[str, str]) -> dict[str, int]:
    """Task -> in how many gate reports its test set was used, one more for the report at hand.

    Args:
        registry: whose recorded reports count.
        tests: task -> digest of its test set.
    """
    if not tests:
        return {}
    counted = (
        select(UseRow.digest, func.count())
        .where(UseRow.digest.in_(sorted(set(tests.values()))))
        .group_by(UseRow.digest)
    )
    with registry._database.reading() as session:
        before = {digest: int(count) for digest, count in session.execute(counted)}
    return {task: before.get(digest, 0) + 1 for task, digest in sorted(tests.items())}


def _policy(session: Session, owner: Sequence, report: GateReport, by: str) -> PolicyRow:
    document = policy_document(report.policy)
    digest = sha256_json(document)
    known = session.scalar(
        select(PolicyRow).where(PolicyRow.sequence_id == owner.id, PolicyRow.sha256 == digest)
    )
    if known is not None:
        return known
    last = session.scalar(
        select(func.max(PolicyRow.version)).where(PolicyRow.sequence_id == owner.id)
    )
    row = PolicyRow(
        sequence_id=owner.id,
        version=(last or 0) + 1,
        sha256=digest,
        document=document,
        created=now(),
        created_by=by,
    )
    session.add(row)
    session.flush()
    return row
