"""Gate reports, kept for ever with the policy they were judged by; and how often a test set was used.

A test set that decides often is no test set any more: every recorded report counts, of whatever
sequence.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

from sqlalchemy import String, case, cast, func, select
from sqlalchemy.orm import Session

from lori_core.digests import sha256_json
from registry import lineage
from registry.clock import now
from registry.decision_models import PolicyRow, ReportRow
from registry.decisions import GateReport
from registry.gating.policy import policy_document
from registry.models import Sequence
from registry.store import Registry


def record(registry: Registry, report: GateReport, by: str) -> GateReport:
    """Keep a report that `by` asked for, and its policy if the sequence was never judged by it.

    Returns the report with its id, digest, time and the policy's version.
    """
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, report.sequence)
        policy = _policy(session, owner, report, by)
        judged = replace(report, policy=replace(report.policy, version=policy.version))
        document = report_document(judged)
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
        return replace(judged, id=row.id, sha256=row.sha256, created=row.created)


def report_document(report: GateReport) -> dict[str, object]:
    """A report as JSON: what its digest is of, without the id, digest and time it is filed under."""
    policy = {**policy_document(report.policy), "version": report.policy.version}
    return {
        "sequence": report.sequence,
        "version": report.version,
        "champion": report.champion,
        "policy": policy,
        "ok": report.ok,
        "rules": [asdict(rule) for rule in report.rules],
        "test_uses": dict(report.test_uses),
        "tests": dict(report.tests),
        "evidence": dict(report.evidence),
    }


def times_used(registry: Registry, tests: Mapping[str, str]) -> dict[str, int]:
    """Task -> in how many gate reports its test set was used, one more for the report at hand.

    Args:
        registry: whose recorded reports count.
        tests: task -> digest of its test set.
    """
    digests = sorted(set(tests.values()))
    if not digests:
        return {}
    columns = [
        func.sum(
            case((cast(ReportRow.tests, String).contains(digest, autoescape=True), 1), else_=0)
        )
        for digest in digests
    ]
    with registry._database.reading() as session:
        row = session.execute(select(*columns)).one()
    before = {digest: int(count or 0) for digest, count in zip(digests, row, strict=True)}
    return {task: before[digest] + 1 for task, digest in sorted(tests.items())}


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
