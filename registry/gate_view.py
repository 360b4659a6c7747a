"""A recorded gate report as a page shows it: what refuses first, and whether it still stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lori_core.errors import NotFound
from registry import decided
from registry.decision_models import ReportRow
from registry.decisions import GatePolicy, RuleResult, Verdict
from registry.gating.policy import policy_document
from registry.models import Sequence as SequenceRow

RULES = 50
"""Rules on a page."""

_FIRST: Mapping[str, int] = {"fail": 0, "underpowered": 1, "undefined": 3}
"""In which order rules are shown: what refuses first, what has no figure last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Rules of one kind, counted."""

    name: str
    rules: int
    verdicts: Mapping[Verdict, int]
    refusing: int
    waived: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A recorded gate report, rule by rule."""

    id: int
    sha256: str
    version: int
    champion: int | None
    """What it was judged against."""
    ok: bool
    created: datetime
    by: str
    policy: Mapping[str, object]
    policy_version: int
    newest: bool
    """Whether it is the newest about its version."""
    stale: tuple[str, ...]
    """Why it may say something else when the version is judged again; empty: nothing we know of."""
    families: tuple[Family, ...]
    rules: tuple[RuleResult, ...]
    """One page of them; what refuses comes first."""
    total: int
    page: int
    test_uses: Mapping[str, int]


def newest_report(session: Session, owner: SequenceRow, version: int) -> ReportRow | None:
    """The newest recorded report about a version, with its policy."""
    return session.scalar(
        select(ReportRow)
        .where(ReportRow.sequence_id == owner.id, ReportRow.number == version)
        .order_by(ReportRow.id.desc())
        .limit(1)
        .options(joinedload(ReportRow.policy))
    )


def report_row(session: Session, owner: SequenceRow, identity: int) -> ReportRow:
    """A report of a sequence, with its policy. Raises NotFound when there is none of this id."""
    found = session.scalar(
        select(ReportRow)
        .where(ReportRow.sequence_id == owner.id, ReportRow.id == identity)
        .options(joinedload(ReportRow.policy))
    )
    if found is None:
        raise NotFound(f"gate report {identity} of {owner.name}", "the id of one of its reports")
    return found


def report_view(
    session: Session,
    row: ReportRow,
    rules: Sequence[RuleResult],
    champion: int | None,
    policy: GatePolicy,
    page: int,
) -> Report:
    """A report with one page of its rules.

    Args:
        session: to read with.
        row: the report.
        rules: all of its rules.
        champion: what serves now.
        policy: what is asked now.
        page: of the rules; beyond the last is the last.
    """
    later = session.scalar(
        select(ReportRow.id)
        .where(
            ReportRow.sequence_id == row.sequence_id,
            ReportRow.number == row.number,
            ReportRow.id > row.id,
        )
        .limit(1)
    )
    stale = why_stale(row, champion, policy)
    if later is not None:
        stale.append("a newer report is recorded")
    page = min(page, max(1, -(-len(rules) // RULES)))
    return replace(
        in_short(row, rules),
        newest=later is None,
        stale=tuple(stale),
        rules=tuple(rules[(page - 1) * RULES : page * RULES]),
        page=page,
    )


def why_stale(row: ReportRow, champion: int | None, policy: GatePolicy) -> list[str]:
    """Why a report may say something else now, by what serves and what is asked now."""
    stale = []
    if row.champion != champion:
        stale.append(
            f"it was judged while {decided.shown_version(row.champion)} served, and"
            f" {decided.shown_version(champion)} serves now"
        )
    if row.policy.document != policy_document(policy):
        stale.append("the sequence's policy has changed since")
    return stale


def in_short(row: ReportRow, rules: Sequence[RuleResult]) -> Report:
    """A report without its rules, which are counted."""
    return Report(
        id=row.id,
        sha256=row.sha256,
        version=row.number,
        champion=row.champion,
        ok=row.ok,
        created=row.created,
        by=row.created_by,
        policy=row.policy.document,
        policy_version=row.policy.version,
        newest=False,
        stale=(),
        families=_families(rules),
        rules=(),
        total=len(rules),
        page=1,
        test_uses=cast(Mapping[str, int], row.document["test_uses"]),
    )


def _families(rules: Sequence[RuleResult]) -> tuple[Family, ...]:
    of: dict[str, list[RuleResult]] = {}
    for rule in rules:
        of.setdefault(family_of(rule.rule), []).append(rule)
    verdicts: tuple[Verdict, ...] = ("pass", "fail", "underpowered", "undefined")
    return tuple(
        Family(
            name=name,
            rules=len(found),
            verdicts={verdict: sum(r.verdict == verdict for r in found) for verdict in verdicts},
            refusing=sum(not rule.ok for rule in found),
            waived=sum(rule.waived is not None for rule in found),
        )
        for name, found in of.items()
    )


def rules_of(row: ReportRow) -> list[RuleResult]:
    """The rules of a recorded report, what refuses first."""
    kept = cast(list[Mapping[str, object]], row.document["rules"])
    rules = [_rule(each) for each in kept]
    return sorted(rules, key=lambda rule: (rule.ok, _FIRST.get(rule.verdict, 2), not rule.waived))


def family_of(rule: str) -> str:
    """`guard` of `guard:safety:under:math`."""
    return rule.partition(":")[0]


def _rule(kept: Mapping[str, object]) -> RuleResult:
    return RuleResult(
        rule=str(kept["rule"]),
        figure=cast(float | None, kept["figure"]),
        bound=cast(float | None, kept["bound"]),
        limit=cast(float | None, kept["limit"]),
        ok=bool(kept["ok"]),
        verdict=cast(Verdict, kept["verdict"]),
        why=str(kept["why"]),
        n=cast(int | None, kept["n"]),
        needed=cast(int | None, kept["needed"]),
        waived=cast(str | None, kept["waived"]),
    )
