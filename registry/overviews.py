"""All sequences, each in one line, in a number of statements that no number of them raises."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Subquery, func, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry import decided
from registry.arrival_models import ArrivalRow
from registry.arrival_records import OUT
from registry.clock import now
from registry.decision_models import EventRow, PromotionRow, ReportRow
from registry.decisions import Freeze
from registry.judged import Answer
from registry.models import Certificate, Stage, Task, Version
from registry.models import Sequence as SequenceRow
from registry.records import CertificateLevel
from registry.store import Registry
from registry.worst_forgetting import Newest, WorstForgetting, worst_forgetting

Sort = Literal["activity", "name", "versions", "forgetting", "waiting"]

SIZE = 25
"""Sequences a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceOverview:
    """One sequence in one line."""

    name: str
    base_path: str
    protection: str
    read: Read
    """The mode it is trained and served under."""
    tasks: int
    """Declared."""
    versions: int
    """Filed."""
    champion: int | None
    """0: the bare base; None: nothing was ever promoted."""
    by_log: bool
    """The promotion that put it there was deleted: only its entry in the log says so."""
    worst_forgetting: WorstForgetting | None
    """None: nothing was learned before the newest version, or nothing was measured (`missing`)."""
    missing: bool
    """Whether earlier tasks were to be measured at the newest version, and none was."""
    certificate: CertificateLevel | None
    """Of the newest version."""
    newest: int | None
    """The newest filed version."""
    gate: Answer | None
    """The newest recorded one about the newest version; None: it was never judged."""
    requests: int
    """Promotions that wait for a second person."""
    frozen: Freeze | None
    waiting: int
    running: int
    failed: int
    last_activity: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """A sequence that something waits for and that has not begun."""

    name: str
    waiting: int
    running: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage:
    """A page of sequences."""

    rows: tuple[SequenceOverview, ...]
    total: int
    """Sequences that match."""
    page: int
    size: int
    q: str
    sort: Sort
    arriving: tuple[Arriving, ...]
    """Beside them, what has no line of its own yet."""
    requests: int
    """Promotions that wait for a second person, of every sequence, those that do not match too."""
    asked: tuple[str, ...]
    """The sequences of those."""


@dataclass(slots=True, kw_only=True)
class _Found:
    id: int
    name: str
    base_path: str
    protection: str
    read: Read
    created: datetime
    tasks: int = 0
    versions: int = 0
    newest: int = 0
    level: CertificateLevel | None = None
    certified: str = ""
    gate: Answer | None = None
    champion: int | None = None
    by_log: bool = False
    queue: dict[str, int] = field(default_factory=dict)
    active: list[datetime] = field(default_factory=list)
    worst: WorstForgetting | None = None
    missing: bool = False

    @property
    def last(self) -> datetime:
        return max([self.created, *self.active])


def overviews(
    registry: Registry, *, q: str = "", sort: Sort = "activity", page: int = 1, size: int = SIZE
) -> OverviewPage:
    """A page of sequences.

    Args:
        registry: what is asked.
        q: a part of a name; empty is every sequence.
        sort: `activity` (the newest first), `name`, `versions` (most first), `forgetting` (the worst
            first, the unknown last) or `waiting` (most first); equal ones by name.
        page: from 1.
        size: sequences a page.
    """
    with registry._database.reading() as session:
        wanted = select(SequenceRow.id, SequenceRow.name)
        if q:
            wanted = wanted.where(SequenceRow.name.contains(q.lower(), autoescape=True))
        matching = wanted.subquery()
        found = _sequences(session, matching)
        _count(session, matching, found)
        arriving = _queues(session, found, q)
        _activity(session, matching, found)
        requests = decided.waiting_counts(session)
        frozen = decided.freezes(session, now())
        every = list(found.values())
        if sort == "forgetting":
            _forgetting(registry, session, every)
        every.sort(key=lambda each: each.name)
        every.sort(key=_ORDER[sort])
        shown = every[(page - 1) * size : page * size]
        if sort != "forgetting":
            _forgetting(registry, session, shown)
    return OverviewPage(
        rows=tuple(
            _overview(each, requests.get(each.name, 0), frozen.get(each.name)) for each in shown
        ),
        total=len(every),
        page=page,
        size=size,
        q=q,
        sort=sort,
        arriving=arriving,
        requests=sum(requests.values()),
        asked=tuple(requests),
    )


def worst_of_each(
    registry: Registry, session: Session
) -> tuple[tuple[str, Read, WorstForgetting], ...]:
    """Of every sequence that has something to forget: its name, the mode it serves, what it lost."""
    matching = select(SequenceRow.id, SequenceRow.name).subquery()
    found = _sequences(session, matching)
    _count(session, matching, found)
    every = sorted(found.values(), key=lambda each: each.name)
    _forgetting(registry, session, every)
    return tuple((each.name, each.read, each.worst) for each in every if each.worst is not None)


def _forgetting(registry: Registry, session: Session, shown: Sequence[_Found]) -> None:
    """Fill in what each lost, under the mode it serves."""
    several = [each for each in shown if each.newest > 1]
    newest = {
        each.id: Newest(
            version=each.newest,
            level=each.level or "G0",
            certified=each.certified,
            read=each.read,
        )
        for each in several
    }
    worst = worst_forgetting(registry, session, newest)
    for each in several:
        each.worst = worst.get(each.id)
        each.missing = each.worst is None


_ORDER: Mapping[Sort, Callable[[_Found], Any]] = {
    "activity": lambda each: -each.last.timestamp(),
    "name": lambda each: each.name,
    "versions": lambda each: -each.versions,
    "forgetting": lambda each: (
        each.worst is None,
        0.0 if each.worst is None else -each.worst.value,
    ),
    "waiting": lambda each: -(each.queue.get("waiting", 0) + each.queue.get("failed", 0)),
}


def _sequences(session: Session, matching: Subquery) -> dict[int, _Found]:
    rows = session.execute(
        select(
            *(SequenceRow.id, SequenceRow.name, SequenceRow.base_path, SequenceRow.created),
            *(
                SequenceRow.adapter["protection"].as_string(),
                SequenceRow.adapter["read"].as_string(),
            ),
        ).join(matching, matching.c.id == SequenceRow.id)
    )
    return {
        identity: _Found(
            id=identity,
            name=name,
            base_path=base_path,
            created=created,
            protection=protection or "disjoint",
            read=cast(Read, read or "inherited"),
        )
        for identity, name, base_path, created, protection, read in rows
    }


def _count(session: Session, matching: Subquery, found: Mapping[int, _Found]) -> None:
    """Tasks, versions, the newest certificate and its gate answer, and the champion of each."""
    tasks = (
        select(Task.sequence_id, func.count())
        .join(matching, matching.c.id == Task.sequence_id)
        .group_by(Task.sequence_id)
    )
    for identity, count in session.execute(tasks):
        found[identity].tasks = count
    filed = (
        select(
            Version.sequence_id.label("owner"),
            func.count().label("count"),
            func.max(Version.number).label("newest"),
        )
        .join(matching, matching.c.id == Version.sequence_id)
        .where(Version.state == "registered")
        .group_by(Version.sequence_id)
        .subquery()
    )
    judged = (
        select(func.max(ReportRow.id))
        .where(ReportRow.sequence_id == filed.c.owner, ReportRow.number == filed.c.newest)
        .correlate(filed)
        .scalar_subquery()
    )
    newest = (
        select(
            *(filed.c.owner, filed.c.count, filed.c.newest),
            *(Certificate.level, Certificate.read, Version.registered),
            *(ReportRow.id, ReportRow.ok, ReportRow.created),
        )
        .join(
            Version,
            (Version.sequence_id == filed.c.owner) & (Version.number == filed.c.newest),
        )
        .join(Certificate, Certificate.id == Version.certificate_id)
        .outerjoin(ReportRow, ReportRow.id == judged)
    )
    for identity, count, number, level, read, at, *answer in session.execute(newest):
        mine = found[identity]
        mine.versions, mine.newest, mine.level = count, number, cast(CertificateLevel, level)
        mine.certified = read
        mine.active += [at] if at is not None else []
        report, ok, told = answer
        mine.gate = None if report is None else Answer(report=report, ok=ok, at=told)
    applied = (
        select(
            EventRow.sequence_id.label("owner"),
            func.max(EventRow.position).label("position"),
        )
        .join(matching, matching.c.id == EventRow.sequence_id)
        .where(EventRow.alias == "champion", EventRow.kind == "applied")
        .group_by(EventRow.sequence_id)
        .subquery()
    )
    serving = (
        select(applied.c.owner, PromotionRow.to_version, EventRow.payload)
        .join(
            EventRow,
            (EventRow.sequence_id == applied.c.owner) & (EventRow.position == applied.c.position),
        )
        .outerjoin(PromotionRow, PromotionRow.id == EventRow.promotion_id)
    )
    for identity, version, payload in session.execute(serving):
        # Where the promotion was deleted, its entry in the log still says what it put there.
        said = cast("int | None", payload.get("to_version"))
        found[identity].champion = said if version is None else version
        found[identity].by_log = version is None and said is not None


def _queues(session: Session, found: Mapping[int, _Found], q: str) -> tuple[Arriving, ...]:
    """The queue of each, and of those that are only in it."""
    by_name = {each.name: each for each in found.values()}
    rows = session.execute(
        select(ArrivalRow.sequence, ArrivalRow.state, func.count())
        .where(ArrivalRow.state.in_(("waiting", "failed", *OUT)))
        .group_by(ArrivalRow.sequence, ArrivalRow.state)
    )
    others: dict[str, dict[str, int]] = {}
    for name, state, count in rows:
        held = by_name[name].queue if name in by_name else others.setdefault(name, {})
        key = "running" if state in OUT else state
        held[key] = held.get(key, 0) + count
    known = set()
    if others:
        known = set(
            session.scalars(select(SequenceRow.name).where(SequenceRow.name.in_(sorted(others))))
        )
    return tuple(
        Arriving(
            name=name,
            waiting=queue.get("waiting", 0),
            running=queue.get("running", 0),
            failed=queue.get("failed", 0),
        )
        for name, queue in sorted(others.items())
        if name not in known and q.lower() in name
    )


def _activity(session: Session, matching: Subquery, found: Mapping[int, _Found]) -> None:
    """When anything happened last: a stage, a decision, an arrival."""
    by_name = {each.name: each for each in found.values()}
    for named in (
        select(Stage.sequence, func.max(Stage.started), func.max(Stage.finished)).group_by(
            Stage.sequence
        ),
        select(
            ArrivalRow.sequence, func.max(ArrivalRow.created), func.max(ArrivalRow.finished)
        ).group_by(ArrivalRow.sequence),
    ):
        for name, *times in session.execute(named):
            if name in by_name:
                by_name[name].active += [at for at in times if at is not None]
    events = (
        select(EventRow.sequence_id, func.max(EventRow.created))
        .join(matching, matching.c.id == EventRow.sequence_id)
        .group_by(EventRow.sequence_id)
    )
    for identity, at in session.execute(events):
        found[identity].active.append(at)


def _overview(each: _Found, requests: int, frozen: Freeze | None) -> SequenceOverview:
    return SequenceOverview(
        name=each.name,
        base_path=each.base_path,
        protection=each.protection,
        read=each.read,
        tasks=each.tasks,
        versions=each.versions,
        champion=each.champion,
        by_log=each.by_log,
        worst_forgetting=each.worst,
        missing=each.missing,
        certificate=each.level,
        newest=each.newest or None,
        gate=each.gate,
        requests=requests,
        frozen=frozen,
        waiting=each.queue.get("waiting", 0),
        running=each.queue.get("running", 0),
        failed=each.queue.get("failed", 0),
        last_activity=each.last,
    )
