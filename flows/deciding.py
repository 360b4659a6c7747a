"""What follows filing: a version is judged, promoted as far as its sequence allows, and nominated.

The nomination (the alias `candidate`) comes last and says that the rest was done: a run that was
killed before it is taken up by the next one.
"""

from dataclasses import dataclass

from flows.announcing import Event, announce
from flows.decided import refused_by
from lori_core.errors import CheckFailed
from registry.clock import now
from registry.decisions import GateReport
from registry.desks import Decisions
from registry.judged import last_answers
from registry.store import Registry

REASON = "passed the gate when it was filed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate said of a version."""

    ok: bool
    told: str
    """In one line."""


def judge(desk: Decisions, sequence: str, version: int) -> Verdict:
    """Ask the gate; the report is recorded."""
    report = desk.gate(sequence, version)
    return Verdict(report.ok, _passed(report) if report.ok else refused_by(report))


def promote_as_allowed(
    desk: Decisions, sequence: str, version: int, verdict: Verdict, promotion: str
) -> list[str]:
    """Do what the sequence's `promotion` says, then nominate the version; what was done, in lines.

    A refusal (of the gate, a freeze, the role) is told: the version stays filed all the same.

    Args:
        desk: where it is decided.
        sequence: whose version.
        version: that was filed and judged.
        verdict: the gate's.
        promotion: `manual`, `approval` or `auto`.
    """
    name = f"{sequence}/{version}"
    if not verdict.ok:
        _announce("lori.version.refused", sequence, version, verdict.told)
        return [f"{verdict.told}; nothing is promoted. `lori gate {name}` shows every rule"]
    told = [verdict.told]
    try:
        if promotion != "manual":
            told.append(_asked(desk, sequence, version))
        if desk.champion(sequence, "candidate") != version:
            desk.promote(sequence, version, reason=REASON, to="candidate")
    except CheckFailed as refusal:
        return [*told, f"{name} is not promoted: {refusal}"]
    if promotion == "manual":
        told.append(
            f"{name} is the candidate; promotion is manual. Next: lori promote {name} --reason TEXT"
        )
    return told


def undecided(registry: Registry, desk: Decisions, sequence: str) -> int | None:
    """The newest version if a killed run filed it and never came to the end of deciding about it."""
    filed = [each for each in registry.versions(sequence) if each.state == "registered"]
    if not filed:
        return None
    newest = filed[-1]
    answer = last_answers(registry, sequence).get(newest.version)
    if answer is None:
        return newest.version
    nominated = desk.served(sequence, "candidate", now()).promotion
    since = None if nominated is None else nominated.applied_at
    assert newest.registered is not None
    done = not answer.ok or (since is not None and since >= newest.registered)
    return None if done else newest.version


def _asked(desk: Decisions, sequence: str, version: int) -> str:
    """Ask for a version to serve, unless that was done before a kill; what came of it, in a line."""
    waiting = [each for each in desk.pending(sequence) if each.to_version == version]
    made = waiting[-1] if waiting else desk.promote(sequence, version, reason=REASON)
    name = f"{sequence}/{version}"
    if made.status == "applied":
        _announce("lori.version.promoted", sequence, version, REASON)
        return f"{sequence}@champion is {name}"
    _announce("lori.version.waits", sequence, version, f"promotion {made.id}")
    return f"{name} waits for a second person: lori approve {made.id} --reason TEXT"


def _announce(event: Event, sequence: str, version: int, said: str) -> None:
    told = {"sequence": sequence, "version": version, "said": said}
    announce(event, f"sequence.{sequence}", told)


def _passed(report: GateReport) -> str:
    shaky = [rule.rule for rule in report.rules if rule.verdict == "underpowered"]
    note = f", with too few rows for {', '.join(shaky)}" if shaky else ""
    return f"{report.sequence}/{report.version} passes the gate ({len(report.rules)} rules{note})"
