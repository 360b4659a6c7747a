"""Decisions as they are shown: gate reports, promotions, and what serves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from flows.times import shown
from registry.clock import json_time
from registry.decisions import (
    BARE_BASE,
    Alias,
    Confirmation,
    Freeze,
    GateReport,
    Promotion,
    ServedThen,
)
from registry.desks import Opened
from registry.judged import Answer, last_answers

if TYPE_CHECKING:
    from rich.table import Table


def version_name(sequence: str, version: int | None) -> str:
    """`S/3`; `the bare base` for 0, `nothing` for None."""
    if version is None:
        return "nothing"
    return "the bare base" if version == BARE_BASE else f"{sequence}/{version}"


@dataclass(frozen=True, slots=True)
class VersionStanding:
    """What was decided about one version."""

    aliases: tuple[Alias, ...]
    """What it serves as."""

    stale: str | None
    """Why it stands on a version that was rolled back; None where it does not."""

    gate: Answer | None
    """The newest gate report about it; None where there is none."""

    asked: bool
    """Whether the gate reports could be asked for: a server's API does not list them."""


def standings(here: Opened, sequence: str, versions: Iterable[int]) -> dict[int, VersionStanding]:
    """What was decided about versions of a sequence."""
    serves = {alias: here.desk.champion(sequence, alias) for alias in get_args(Alias)}
    stale = here.desk.stale(sequence)
    answers = {} if here.registry is None else last_answers(here.registry, sequence)
    return {
        version: VersionStanding(
            aliases=tuple(alias for alias, number in serves.items() if number == version),
            stale=stale.get(version),
            gate=answers.get(version),
            asked=here.registry is not None,
        )
        for version in versions
    }


def standing_json(standing: VersionStanding) -> dict[str, object]:
    """What `lori versions --json` adds to a version; no `gate` where nobody could be asked."""
    decided: dict[str, object] = {"aliases": list(standing.aliases), "stale": standing.stale}
    gate = standing.gate
    if gate is not None:
        decided["gate"] = {"ok": gate.ok, "report": gate.report}
    elif standing.asked:
        decided["gate"] = None
    return decided


def gate_word(standing: VersionStanding) -> str:
    """What the gate said last, for a table."""
    if standing.gate is None:
        return "–" if standing.asked else "?"
    return "passed" if standing.gate.ok else "refused"


def gate_json(report: GateReport) -> dict[str, object]:
    """`lori gate --json`."""
    return {
        "ok": report.ok,
        "rules": [
            {
                "rule": rule.rule,
                "figure": rule.figure,
                "bound": rule.bound,
                "ok": rule.ok,
                "verdict": rule.verdict,
                "why": rule.why,
            }
            for rule in report.rules
        ],
    }


def gate_table(report: GateReport) -> "Table":
    """Every rule of a report; where a failed one was waived, by whom."""
    from rich.table import Table

    served = version_name(report.sequence, report.champion)
    against = served if report.champion else "the bare base"
    table = Table(
        title=f"{report.sequence}/{report.version} against {against}", title_justify="left"
    )
    table.add_column("rule", overflow="fold")
    for column in ("figure", "bound", "limit"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("why", overflow="fold")
    for rule in report.rules:
        why = rule.why if rule.waived is None else f"{rule.why} Waived: {rule.waived}"
        table.add_row(
            rule.rule, _number(rule.figure), _number(rule.bound), _number(rule.limit),
            rule.verdict if rule.ok == (rule.verdict != "fail") else f"{rule.verdict}, waived",
            why,
        )  # fmt: skip
    return table


def gate_lines(report: GateReport) -> list[str]:
    """The policy, and how worn the test sets are."""
    policy = report.policy
    which = "not recorded" if policy.version is None else f"version {policy.version}"
    number = "not recorded" if report.id is None else f"{report.id}"
    uses = ", ".join(f"{task} {count}" for task, count in sorted(report.test_uses.items()))
    return [
        f"policy {which}, {policy.read} read, confidence {policy.confidence:g}; report {number}",
        *([f"test sets used for a decision, times: {uses}"] if uses else []),
    ]


def freeze_json(frozen: Freeze) -> dict[str, object]:
    """A freeze in `lori status --json`."""
    return {"until": json_time(frozen.until), "by": frozen.by, "reason": frozen.reason}


def frozen_line(frozen: Freeze) -> str:
    """Until when nothing is promoted, on whose word."""
    return (
        f"{frozen.sequence} is frozen until {shown(frozen.until)} by {frozen.by}: {frozen.reason} "
        "(nothing is promoted; a rollback still works)"
    )


def verdict_line(report: GateReport) -> str:
    """What a report comes to, where no rule said no."""
    waived = [rule.rule for rule in report.rules if rule.waived is not None]
    note = f", with {', '.join(waived)} waived" if waived else ""
    return f"{report.sequence}/{report.version} passes the gate{note}"


def refused_by(report: GateReport) -> str:
    """The rules that said no, in one line."""
    rules = [f"{rule.rule} ({rule.verdict})" for rule in report.rules if not rule.ok]
    return f"{report.sequence}/{report.version} is refused by {', '.join(rules)}"


def promotion_json(promotion: Promotion) -> dict[str, object]:
    """One promotion or rollback, as `lori promote --json` and `lori pending --json` tell it."""
    return {
        "id": promotion.id,
        "kind": promotion.kind,
        "alias": promotion.alias,
        "from_version": promotion.from_version,
        "to_version": promotion.to_version,
        "status": promotion.status,
        "requested_by": promotion.requested_by,
        "approved_by": promotion.approved_by,
        "reason": promotion.reason,
        "applied_at": None if promotion.applied_at is None else json_time(promotion.applied_at),
        "report_id": promotion.report_id,
        "report_sha256": promotion.report_sha256,
    }


def history_json(promotion: Promotion, confirmed: Iterable[Confirmation]) -> dict[str, object]:
    """One object of `lori history --json`: with what servers said they loaded of its version."""
    return {
        **promotion_json(promotion),
        "confirmations": [
            {
                "host": each.host,
                "task": each.task,
                "read": each.read,
                "digest": each.digest,
                "matches": each.matches,
                "loaded_at": json_time(each.loaded_at),
                "told_at": None if each.told_at is None else json_time(each.told_at),
            }
            for each in confirmed
            if each.version == promotion.to_version
        ],
    }


def already_line(promotion: Promotion) -> str:
    """What was asked for is so already, since an earlier promotion."""
    alias = f"{promotion.sequence}@{promotion.alias}"
    verb = "serves" if promotion.alias == "champion" else f"is {alias}"
    return (
        f"{version_name(promotion.sequence, promotion.to_version)} already {verb}; nothing recorded "
        f"({promotion.kind} {promotion.id} by {promotion.requested_by}, "
        f"applied {shown(promotion.applied_at)})"
    )


def promotion_line(promotion: Promotion) -> str:
    """What became of one request."""
    target = version_name(promotion.sequence, promotion.to_version)
    before = version_name(promotion.sequence, promotion.from_version)
    alias = f"{promotion.sequence}@{promotion.alias}"
    told = {
        "applied": f"{alias} is {target} (it was {before})",
        "requested": f"{alias} stays {before}: {target} waits for a second person",
        "rejected": f"{alias} stays {before}: {target} was rejected",
    }.get(promotion.status, f"{alias} to {target}: {promotion.status} {promotion.detail}".strip())
    detail = f" ({promotion.detail})" if promotion.status == "applied" and promotion.detail else ""
    return f"{told}; {promotion.kind} {promotion.id} by {promotion.requested_by}{detail}"


def promotions_table(promotions: Iterable[Promotion]) -> "Table":
    """Promotions in order."""
    from rich.table import Table

    table = Table()
    for column in ("id", "applied", "kind", "alias", "from", "to", "status", "by", "approved"):
        table.add_column(column)
    table.add_column("report", justify="right")
    table.add_column("reason", overflow="fold")
    for each in promotions:
        table.add_row(
            str(each.id), shown(each.applied_at), each.kind, f"{each.sequence}@{each.alias}",
            version_name(each.sequence, each.from_version),
            version_name(each.sequence, each.to_version), each.status, each.requested_by,
            each.approved_by or "–", "–" if each.report_id is None else str(each.report_id),
            each.reason,
        )  # fmt: skip
    return table


def served_lines(served: ServedThen) -> list[str]:
    """What an alias designated at a time, on whose word, on what evidence."""
    alias = f"{served.sequence}@{served.alias}"
    target = version_name(served.sequence, served.version)
    lines = [f"designated at {shown(served.at)}: {alias} was {target}"]
    if (by := served.promotion) is not None:
        approved = "" if by.approved_by is None else f", approved by {by.approved_by}"
        lines.append(
            f"  on the word of {by.requested_by}{approved}: {by.reason} "
            f"({by.kind} {by.id}, applied {shown(by.applied_at)})"
        )
        evidence = (
            "no gate report"
            if by.report_id is None
            else f"gate report {by.report_id}, sha256 {by.report_sha256}"
        )
        lines.append(f"  on the evidence of {evidence}")
    return lines


def confirmed_lines(confirmed: Iterable[Confirmation], designated: int | None) -> list[str]:
    """What each server said last that it loaded, beside what was designated to serve."""
    last = {(each.host, each.task, each.read): each for each in confirmed}
    if not last:
        return ["confirmed: no server has said what it loaded"]
    return [
        f"confirmed: {each.host} loaded {each.sequence}/{each.version} {each.task}, "
        f"{each.read} read, at {shown(each.loaded_at)}"
        + ("" if each.told_at is None else f" (said so at {shown(each.told_at)})")
        + ("" if each.matches else f"; {each.digest[:16]} is no export of it we know")
        + (
            ""
            if each.version == designated
            else f"; {version_name(each.sequence, designated)} is designated"
        )
        for each in last.values()
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
