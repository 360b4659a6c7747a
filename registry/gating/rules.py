"""The rules about facts: whole, certified, current, measured on the same test sets, nothing lost?"""

from collections.abc import Collection, Mapping, Sequence

from registry.decisions import BARE_BASE, GatePolicy, RuleResult
from registry.gating.evidence import Certified, Evidence, Fault, Place
from registry.gating.policy import reach
from registry.succession import fallback

FAMILIES = (
    "integrity", "certificate", "dependency", "coverage", "cells",
    "test-set", "guard", "forgetting", "learning", "plasticity",
)  # fmt: skip
"""What a rule's name begins with; the task it is about follows a colon."""

UNWAIVABLE = ("integrity", "certificate")
"""What no waiver sets aside: bits that are not those certified stay what they are."""

_SHOWN = 5


def integrity(found: Sequence[str]) -> RuleResult:
    """Everything the version stands on has the digests that were filed (`registry.soundness`)."""
    return _counted("integrity", list(found), "every file, row and certificate is as it was filed")


def certificate(policy: GatePolicy, filed: Certified, protection: str) -> RuleResult:
    """The certificate has the level the policy asks, capped at what the read mode can reach."""
    most = reach(protection, policy.read)
    asked = min(policy.certificate, most)
    held = filed.level if filed.read == policy.read else min(filed.level, "G1")
    capped = f" ({policy.certificate} is asked, {most} is all it can reach)"
    why = f"{held}; the {policy.read} read must have {asked}{capped if asked < policy.certificate else ''}"
    if filed.read != policy.read and held < filed.level:
        why += f"; its {filed.level} is about the {filed.read} read, the one it was trained under"
    ok = held >= asked
    return RuleResult(
        rule="certificate",
        figure=float(held[1:]),
        bound=None,
        limit=float(asked[1:]),
        ok=ok,
        verdict="pass" if ok else "fail",
        why=f"certificate {why}",
    )


def dependency(
    sequence: str, version: int, stale: Mapping[int, str], newest: str, retired: Collection[str]
) -> RuleResult:
    """It does not stand on a version that was rolled back, and the task it adds is in service."""
    found = [stale[version]] if version in stale else []
    if newest in retired:
        found.append(f"task {newest!r}, which it adds, is retired: it has nothing new to serve")
    return _counted("dependency", found, f"{sequence}/{version} stands on no version rolled back")


def cells(evidence: Evidence) -> RuleResult:
    """Every cell that the policy needs was measured; predictions that were compared are as recorded."""
    whole = (
        f"{evidence.asked} of {evidence.asked} cells; {evidence.opened} were compared row by row,"
        " each with its predictions"
    )
    return _counted("cells", list(evidence.faults.values()), whole)


def test_sets(evidence: Evidence, version: int, champion: int | None) -> RuleResult:
    """Each task that both know was measured on the same test set."""
    if champion is None or champion == BARE_BASE:
        return undefined("test-set", f"{_no_champion(champion)} to have the same test sets as")
    both = evidence.tasks[: min(version, champion)]
    wrong = []
    for task in both:
        places = Place(version, task), Place(champion, task)
        if not any(isinstance(evidence.require(place), Fault) for place in places):
            continue  # both were measured on the task's test set
        mine, theirs = (evidence.cell(place) for place in places)
        if mine is None or theirs is None:
            wrong.append(f"{task} was not measured at both versions")
        elif mine.test_digest != theirs.test_digest:
            wrong.append(
                f"{task}: {mine.test_digest[:12]}, the champion's {theirs.test_digest[:12]}"
            )
    return _counted("test-set", wrong, f"the champion's for {len(both)} tasks both know")


def coverage(
    evidence: Evidence, version: int, champion: int | None, retired: Collection[str], served: bool
) -> RuleResult:
    """It contains every task that the champion serves: users of the others would get the bare base.

    Tasks are learned in order, so only an older version lacks any, and a newer one that supersedes a
    task is never in a version that lacks the task. Where the version has what a lacking one
    supersedes, its users fall back to that.
    """
    if champion is None or champion == BARE_BASE:
        return undefined("coverage", f"{_no_champion(champion)} whose tasks it could lack")
    lost = [task for task in evidence.tasks[version:champion] if task not in retired]
    if not lost:
        return _counted("coverage", [], f"every task that {evidence.sequence}/{champion} serves")
    positions = {task: place for place, task in enumerate(evidence.tasks, start=1)}
    to: dict[str, list[str]] = {}
    for task in lost:
        older = fallback(evidence.predecessors, positions, task, version)
        to.setdefault(_what_answers(older, retired), []).append(task)
    falls = " and ".join(f"{_some(tasks)} would fall back to {name}" for name, tasks in to.items())
    lacks = (
        f"{evidence.sequence}/{champion} serves what {evidence.sequence}/{version} does not contain"
    )
    back = f"`lori rollback {evidence.sequence} --to-version {version if served else 'N'}`"
    never = (
        "" if served else f", which takes an N that served: {evidence.sequence}/{version} never did"
    )
    way = f"the way back to an older version is {back}{never}"
    return RuleResult(
        rule="coverage",
        figure=float(len(lost)),
        bound=None,
        limit=0.0,
        ok=False,
        verdict="fail",
        why=f"{falls}: {lacks}; {way}",
    )


def _what_answers(older: str | None, retired: Collection[str]) -> str:
    if older is None:
        return "the bare base"
    return f"nothing ({older} is retired)" if older in retired else older


def _some(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return f"{', '.join(tasks[:_SHOWN])}{more}"


def _no_champion(champion: int | None) -> str:
    return "no champion" if champion is None else "the bare base serves: no champion"


def undefined(rule: str, why: str) -> RuleResult:
    """A rule that has no figure here, by construction."""
    return RuleResult(
        rule=rule, figure=None, bound=None, limit=None, ok=True, verdict="undefined", why=why
    )


def _counted(rule: str, faults: list[str], whole: str) -> RuleResult:
    shown = "; ".join(faults[:_SHOWN])
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return RuleResult(
        rule=rule,
        figure=float(len(faults)),
        bound=None,
        limit=0.0,
        ok=not faults,
        verdict="fail" if faults else "pass",
        why=f"{shown}{more}" if faults else whole,
    )
