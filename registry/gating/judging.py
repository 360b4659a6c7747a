"""Everything a policy asks, about one version, against what serves now."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from lori_core.errors import BadInput
from registry.clock import now
from registry.decisions import GateReport, RuleResult, Waiver
from registry.gating import comparisons, rules
from registry.gating.evidence import gather
from registry.gating.policy import policy_of
from registry.gating.references import single_task_references
from registry.gating.report import times_used
from registry.soundness import faults
from registry.store import Registry


def judge(
    registry: Registry,
    sequence: str,
    version: int,
    champion: int | None,
    *,
    stale: Mapping[int, str],
    waivers: Sequence[Waiver] = (),
    retired: Collection[str] = (),
    served: bool = False,
    at: datetime | None = None,
) -> GateReport:
    """Judge a version by the sequence's policy; nothing is written.

    Args:
        registry: our rows, and the home with the prediction files.
        sequence: its name.
        version: a filed one.
        champion: what serves now; 0 is the bare base, None is nothing.
        stale: versions that stand on one that was rolled back -> why.
        waivers: those of this sequence; only what is in force counts.
        retired: tasks that no longer serve. They are guards still, where they were.
        served: whether the version was the champion before, so that a rollback can go to it.
        at: when, for waivers; None is now.

    Raises:
        BadInput: no such version, or it is not filed; a champion that is not there.
    """
    policy = policy_of(registry, sequence)
    filed = registry.version(sequence, version)
    if filed.state != "registered":
        raise BadInput(
            f"version {sequence}/{version} ({filed.state})",
            "a filed version",
            "`lori run` goes on filing it.",
        )
    if champion:
        registry.version(sequence, champion)
    evidence = gather(registry, sequence, version, policy.read)
    case = comparisons.Case(version=version, champion=champion, policy=policy, retired=retired)
    comparisons.require_row(evidence, case)
    measured = [
        *comparisons.guards(evidence, case),
        *comparisons.forgetting(evidence, case),
        *comparisons.learning(evidence, case),
        *comparisons.plasticity(evidence, case, single_task_references(registry, sequence)),
    ]
    test_sets = rules.test_sets(evidence, version, champion)
    found = [
        rules.integrity(faults(registry, sequence, version)),
        rules.certificate(policy, evidence.certificate, evidence.protection),
        rules.dependency(sequence, version, stale, filed.task, retired),
        rules.coverage(evidence, version, champion, retired, served),
        rules.cells(evidence),
        test_sets,
        *measured,
    ]
    time = at or now()
    live = {
        waiver.rule: waiver
        for waiver in waivers
        if waiver.sequence == sequence and waiver.version == version and _in_force(waiver, time)
    }
    judged = tuple(_waived(rule, live.get(rule.rule)) for rule in found)
    return GateReport(
        sequence=sequence,
        version=version,
        champion=champion,
        policy=policy,
        ok=all(rule.ok for rule in judged),
        rules=judged,
        test_uses=times_used(registry, evidence.tests),
        tests=dict(sorted(evidence.tests.items())),
        evidence=dict(sorted(evidence.used.items())),
    )


def _in_force(waiver: Waiver, time: datetime) -> bool:
    return (
        waiver.approved_by is not None
        and waiver.approved_by != waiver.requested_by
        and time < waiver.expires
    )


def _waived(rule: RuleResult, waiver: Waiver | None) -> RuleResult:
    if waiver is None or rule.ok or rule.rule in rules.UNWAIVABLE:
        return rule
    words = (
        f"by {waiver.requested_by} and {waiver.approved_by} until "
        f"{waiver.expires.isoformat()}: {waiver.reason}"
    )
    return replace(rule, ok=True, waived=words)
