"""Who decided what serves, on which evidence: everything a page about one sequence's promotions shows.

Nothing is judged here: the newest recorded report is shown, beside what has changed since. The number of
queries does not grow with versions, promotions, reports or rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lori_core.errors import NotFound
from registry import decided, lineage
from registry.beside import Beside, beside, window
from registry.chain_seen import chain_seen
from registry.clock import now
from registry.decision_models import EventRow, PromotionRow
from registry.decisions import (
    BARE_BASE,
    Actor,
    Alias,
    ChainCheck,
    Freeze,
    GatePolicy,
    Promotion,
    RuleResult,
    Waiver,
)
from registry.gate_view import Report, in_short, newest_report, report_row, report_view, rules_of
from registry.gating.policy import policy_of_record
from registry.models import Sequence as SequenceRow
from registry.models import Version
from registry.second_person import why_not_second
from registry.spoken import Words, last_words
from registry.store import Registry
from registry.timeline import Shown, Timeline, timeline

TARGETS = 20
"""Earlier champions that are offered to go back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What an alias points at, and on whose word."""

    alias: Alias
    version: int | None
    """None: nothing; 0: the bare base."""
    task: str | None
    """The task learned at that version."""
    since: datetime | None
    """None for `previous`, which follows the champion."""
    promotion: Promotion | None
    """None where nothing was ever put there, or the promotion that did it was deleted."""
    by_log: bool = False
    """That promotion was deleted: only its entry in the log says what it put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that waits for a second person."""

    promotion: Promotion
    why_not: str | None
    """Why who looks may not approve it; None: he may."""
    moved: bool
    """Whether what serves is no longer what it was asked against: approving it would fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What served at a time."""

    at: datetime
    serving: Serving
    report: Report | None
    """The evidence it was promoted on, in short (no rules)."""
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionView:
    """The page about one sequence's promotions."""

    sequence: str
    tasks: int
    versions: int
    """How many are filed."""
    newest: int | None
    champion: Serving
    candidate: Serving
    previous: Serving
    words: Words
    """What servers said they loaded, newest word of each."""
    frozen: Freeze | None
    policy: GatePolicy
    judged: int | None
    """The version that is looked at; None where nothing is filed."""
    judged_task: str | None
    report: Report | None
    """None: it was never judged."""
    beside: tuple[Beside, ...]
    beside_total: int
    beside_page: int
    waiting: tuple[Waiting, ...]
    waivers: tuple[Waiver, ...]
    """Of the version that is looked at."""
    targets: tuple[int, ...]
    """Versions that served before, newest first: what one can go back to."""
    then: Then | None
    history: Timeline
    chain: ChainCheck
    """Its entries, and the anchor beside the registry; see `ledger.check_entries`."""
    chain_at: datetime
    """When that was checked."""
    seen: datetime
    """When all this was so."""


def promotion_view(
    registry: Registry,
    sequence: str,
    actor: Actor,
    *,
    version: int | None = None,
    report: int | None = None,
    at: datetime | None = None,
    shown: Shown = "all",
    page: int = 1,
    rules: int = 1,
    tasks: int = 1,
) -> PromotionView:
    """Everything about what serves of a sequence, and what might.

    Args:
        registry: where it is.
        sequence: its name.
        actor: who looks: which requests he may approve.
        version: the one that is looked at; None is the candidate where it is ahead of what serves, else
            the newest filed one.
        report: an older report of it to show; None is the newest.
        at: show what served then, and the history up to then.
        shown: which part of the history.
        page: of the history.
        rules: page of the rules.
        tasks: page of the tasks beside the champion's.

    Raises:
        NotFound: there is no such sequence, version or report.
    """
    moment = now()
    chain = chain_seen(registry, sequence)
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        record = lineage.sequence_record(session, owner)
        policy = policy_of_record(record)
        filed = _filed(session, owner)
        champion, candidate, previous = _serving(
            session, owner, record.tasks, ("champion", "candidate", "previous")
        )
        newest = max(filed, default=None)
        shown_report = None if report is None else report_row(session, owner, report)
        judged = _judged(champion, candidate, newest)
        if shown_report is not None:
            judged = shown_report.number
        elif version is not None:
            judged = _known(sequence, version, filed)
        row = shown_report or (None if judged is None else newest_report(session, owner, judged))
        told = None
        found: Sequence[RuleResult] = ()
        if row is not None:
            found = rules_of(row)
            told = report_view(session, row, found, champion.version, policy, rules)
        rows: tuple[Beside, ...] = ()
        if judged is not None:
            shown_tasks, tasks = window(record.tasks[:judged], tasks)
            rows = beside(
                registry, session, owner, judged, champion.version, policy.read, shown_tasks, found
            )
        waiting = _waiting(session, owner, actor, champion, candidate)
        return PromotionView(
            sequence=sequence,
            tasks=len(record.tasks),
            versions=len(filed),
            newest=newest,
            champion=champion,
            candidate=candidate,
            previous=previous,
            words=last_words(session, owner),
            frozen=decided.current_freeze(session, owner, moment),
            policy=policy,
            judged=judged,
            judged_task=None if judged is None else record.tasks[judged - 1],
            report=told,
            beside=rows,
            beside_total=judged or 0,
            beside_page=tasks,
            waiting=waiting,
            waivers=tuple(
                each for each in decided.waivers_of(session, owner) if each.version == judged
            ),
            targets=_targets(session, owner, champion.version),
            then=None if at is None else _then(session, owner, at, record.tasks),
            history=timeline(session, owner, shown=shown, page=page, at=at),
            chain=chain.check,
            chain_at=chain.at,
            seen=moment,
        )


def sequence_of(registry: Registry, promotion: int) -> str:
    """The sequence whose alias a promotion moves. Raises NotFound when there is none of this id."""
    with registry._database.reading() as session:
        row = decided.promotion_row(session, promotion)
        return session.get_one(SequenceRow, row.sequence_id).name


def _filed(session: Session, owner: SequenceRow) -> set[int]:
    wanted = select(Version.number).where(
        Version.sequence_id == owner.id, Version.state == "registered"
    )
    return set(session.scalars(wanted))


def _known(sequence: str, version: int, filed: set[int]) -> int:
    if version in filed:
        return version
    raise NotFound(
        f"version {sequence}/{version}",
        f"a filed version, from 1 to {max(filed)}" if filed else "a sequence with a filed version",
        f"`lori versions {sequence}` lists them.",
    )


def _judged(champion: Serving, candidate: Serving, newest: int | None) -> int | None:
    """The version a person most likely came to decide about."""
    if candidate.version is not None and candidate.version > (champion.version or 0):
        return candidate.version
    return newest


def _serving(
    session: Session,
    owner: SequenceRow,
    tasks: Sequence[str],
    aliases: Sequence[Alias],
    at: datetime | None = None,
) -> list[Serving]:
    """As `decided.serving`, and where the promotion was deleted what the log still says of it."""
    entries = {
        alias: decided.serving_entry(session, owner, alias, at)
        for alias in ("champion", "candidate")
        if alias in aliases
    }
    known = [e.promotion_id for e in entries.values() if e is not None and e.promotion is not None]
    promotions = {
        each.id: each
        for each in decided.promotions_by_id(session, [i for i in known if i is not None], at)
    }
    return [
        _pointed(session, owner, alias, entries[_moved_with(alias)], promotions, tasks, at)
        for alias in aliases
    ]


def _moved_with(alias: Alias) -> Alias:
    return "champion" if alias == "previous" else alias


def _pointed(
    session: Session,
    owner: SequenceRow,
    alias: Alias,
    entry: EventRow | None,
    promotions: Mapping[int, Promotion],
    tasks: Sequence[str],
    at: datetime | None,
) -> Serving:
    version = None
    if entry is not None and entry.promotion is not None:
        version = decided.pointed_at(session, owner, entry, alias, at)
    elif entry is not None and alias != "previous":
        version = cast(int | None, entry.payload.get("to_version"))
    if entry is None or version is None:
        return Serving(alias=alias, version=None, task=None, since=None, promotion=None)
    return Serving(
        alias=alias,
        version=version,
        task=None if version == BARE_BASE else tasks[version - 1],
        since=None if alias == "previous" else entry.created,
        promotion=None
        if alias == "previous" or entry.promotion_id is None
        else promotions.get(entry.promotion_id),
        by_log=entry.promotion is None,
    )


def _waiting(
    session: Session, owner: SequenceRow, actor: Actor, champion: Serving, candidate: Serving
) -> tuple[Waiting, ...]:
    asked = decided.waiting(session, owner)
    why_not = why_not_second(session, owner, actor, asked)
    serves = {"champion": champion.version, "candidate": candidate.version}
    return tuple(
        Waiting(
            promotion=each,
            why_not=why_not[each.id],
            moved=serves[each.alias] != each.from_version,
        )
        for each in asked
    )


def _targets(session: Session, owner: SequenceRow, champion: int | None) -> tuple[int, ...]:
    """Earlier champions, the one that served last first."""
    last = func.max(EventRow.position)
    wanted = (
        select(PromotionRow.to_version)
        .join(EventRow, EventRow.promotion_id == PromotionRow.id)
        .where(
            EventRow.sequence_id == owner.id,
            EventRow.alias == "champion",
            EventRow.kind == "applied",
            PromotionRow.to_version > BARE_BASE,
        )
        .group_by(PromotionRow.to_version)
        .order_by(last.desc())
        .limit(TARGETS + 1)
    )
    found = [version for version in session.scalars(wanted) if version != champion]
    return tuple(found[:TARGETS])


def _then(session: Session, owner: SequenceRow, at: datetime, tasks: Sequence[str]) -> Then:
    (serving,) = _serving(session, owner, tasks, ("champion",), at)
    promotion = serving.promotion
    report = None
    if promotion is not None and promotion.report_id is not None:
        row = report_row(session, owner, promotion.report_id)
        report = in_short(row, rules_of(row))
    words = Words(confirmations=(), total=0)
    if serving.version is not None:
        words = last_words(session, owner, version=serving.version, at=at)
    return Then(at=at, serving=serving, report=report, words=words)
