"""The queue as a page shows it: of all sequences or of some, in a number of queries that never grows.

`registry.queue_standing` tells the same of one sequence to programs, here and from a server.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, load_only

from lori_core.names import check_name
from registry.arrival_models import ArrivalRow, HeldSequenceRow, SubmissionRow
from registry.arrival_records import DONE, OPEN, OUT, ArrivalState, HeldSequence, Source
from registry.arrival_rows import held_record
from registry.models import Sequence as SequenceRow
from registry.models import Stage
from registry.queue_records import (
    InHand,
    QueuedTask,
    QueueView,
    RefusedSubmission,
    SequenceQueue,
    StageStep,
)
from registry.queue_times import (
    RECENT,
    expected_times,
    mean_seconds,
    progress_of,
    silent_seconds,
)
from registry.records import StageState
from registry.store import Registry

ITEMS = 10
"""Arrivals of a sequence that are shown beside other sequences."""

ALL_ITEMS = 500
"""Arrivals of a sequence that is shown alone."""

HISTORY = 5
"""Arrivals of a sequence that are over and shown."""

LATELY = 20
"""Arrivals that are over, and submissions that were refused, of all sequences."""

_LIGHT = load_only(
    *(ArrivalRow.id, ArrivalRow.sequence, ArrivalRow.task, ArrivalRow.state, ArrivalRow.held),
    *(ArrivalRow.priority, ArrivalRow.queue, ArrivalRow.attempt, ArrivalRow.flow_run_id),
    *(
        ArrivalRow.not_before,
        ArrivalRow.heartbeat,
        ArrivalRow.progress,
        ArrivalRow.version,
        ArrivalRow.reason,
    ),
    *(ArrivalRow.cancel_requested, ArrivalRow.created, ArrivalRow.started, ArrivalRow.finished),
    raiseload=True,
)
"""Everything but the documents, which may be large."""


@dataclass(frozen=True, slots=True)
class _Counts:
    waiting: int = 0
    running: int = 0
    failed: int = 0
    first_failed: int | None = None


def queue_view(
    registry: Registry, now: datetime, *, sequence: str | None = None, page: int = 1, size: int = 25
) -> QueueView:
    """The queue of all sequences in which anything is to be done, a page of them; or of one alone.

    Args:
        registry: what is asked.
        now: the time, which estimates count from.
        sequence: the one that is wanted; it need not have learned anything.
        page: from 1; beyond the last is the last.
        size: sequences a page.
    """
    with registry._database.reading() as session:
        if sequence is None:
            counts, held = _counts(session, None), _held(session, None)
            names = sorted({*counts, *held}, key=lambda name: (*_rank(counts.get(name)), name))
            total = len(names)
            page = min(page, max(1, -(-total // size)))
            shown = names[(page - 1) * size : page * size]
            items = ITEMS
        else:
            shown, total, page, items = [check_name("sequence", sequence)], 1, 1, ALL_ITEMS
            counts, held = _counts(session, shown), _held(session, shown)
        return QueueView(
            at=now,
            sequences=_queues(session, shown, counts, held, now, items),
            total=total,
            page=page,
            size=size,
            only=sequence,
            history=_lately(session, sequence, now),
            refused=_refused(session),
            received=session.scalar(select(func.count()).where(SubmissionRow.state == "received"))
            or 0,
        )


def sequence_queues(
    registry: Registry, names: Collection[str], now: datetime
) -> Mapping[str, SequenceQueue]:
    """The queues of these sequences, by name; one without any arrival has an empty one."""
    wanted = sorted({check_name("sequence", name) for name in names})
    if not wanted:
        return {}
    with registry._database.reading() as session:
        counts, held = _counts(session, wanted), _held(session, wanted)
        found = _queues(session, wanted, counts, held, now, ITEMS)
    return {each.sequence: each for each in found}


def sequence_queue(registry: Registry, name: str, now: datetime) -> SequenceQueue:
    """The queue of one sequence."""
    return sequence_queues(registry, [name], now)[name]


def _rank(counts: _Counts | None) -> tuple[bool, bool, bool]:
    if counts is None:
        return True, True, True
    return not counts.running, not counts.failed, not counts.waiting


def _counts(session: Session, names: Collection[str] | None) -> dict[str, _Counts]:
    wanted = (
        select(
            ArrivalRow.sequence,
            _number(ArrivalRow.state == "waiting"),
            _number(ArrivalRow.state.in_(OUT)),
            _number(ArrivalRow.state == "failed"),
            func.min(case((ArrivalRow.state == "failed", ArrivalRow.id))),
        )
        .where(ArrivalRow.state.in_(OPEN))
        .group_by(ArrivalRow.sequence)
    )
    if names is not None:
        wanted = wanted.where(ArrivalRow.sequence.in_(names))
    return {
        sequence: _Counts(waiting, running, failed, first_failed)
        for sequence, waiting, running, failed, first_failed in session.execute(wanted)
    }


def _number(where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((where, 1), else_=0))


def _held(session: Session, names: Collection[str] | None) -> dict[str, HeldSequence]:
    wanted = select(HeldSequenceRow)
    if names is not None:
        wanted = wanted.where(HeldSequenceRow.sequence.in_(names))
    return {row.sequence: held_record(row) for row in session.scalars(wanted)}


def _queues(
    session: Session,
    names: Sequence[str],
    counts: Mapping[str, _Counts],
    held: Mapping[str, HeldSequence],
    now: datetime,
    items: int,
) -> tuple[SequenceQueue, ...]:
    rank = case((ArrivalRow.state.in_(OUT), 0), (ArrivalRow.state == "failed", 1), else_=2)
    turn = _place(rank, ArrivalRow.priority.desc(), ArrivalRow.id)
    there = _first_of_each(session, names, OPEN, turn, items)
    newest = _place(ArrivalRow.finished.desc(), ArrivalRow.id.desc())
    past = _first_of_each(session, names, DONE, newest, HISTORY)
    seconds = _seconds(session, names)
    in_hand = _in_hand(session, names)
    declared = set(session.scalars(select(SequenceRow.name).where(SequenceRow.name.in_(names))))
    return tuple(
        _queue(
            name,
            counts.get(name, _Counts()),
            there[name],
            past[name],
            seconds=seconds.get(name),
            held=held.get(name),
            in_hand=in_hand.get(name),
            declared=name in declared,
            now=now,
        )
        for name in names
    )


def _queue(
    name: str,
    counts: _Counts,
    there: Sequence[ArrivalRow],
    past: Sequence[ArrivalRow],
    *,
    seconds: float | None,
    held: HeldSequence | None,
    in_hand: InHand | None,
    declared: bool,
    now: datetime,
) -> SequenceQueue:
    tasks = tuple(_of_its_stage(_task(row, now), in_hand) for row in there)
    stopped = held is not None or counts.first_failed is not None
    expected = expected_times(tasks, None if stopped else seconds, now)
    running = next((each for each in tasks if each.state == "running"), None)
    if in_hand is not None and running is not None:
        same = in_hand.task == running.task
        in_hand = InHand(task=in_hand.task, steps=in_hand.steps, queued=True) if same else None
    elif in_hand is not None and (
        in_hand.steps[-1].state != "running" or any(_left(in_hand, row) for row in (*there, *past))
    ):
        in_hand = None
    return SequenceQueue(
        sequence=name,
        declared=declared,
        waiting=counts.waiting,
        running=counts.running,
        failed=counts.failed,
        items=tuple(
            replace(each, expected=_to_the_minute(when))
            for each, when in zip(tasks, expected, strict=True)
        ),
        more=counts.waiting + counts.running + counts.failed - len(tasks),
        history=tuple(_task(row, now) for row in past),
        held=held,
        blocked_by=counts.first_failed,
        seconds_a_task=seconds,
        in_hand=in_hand,
    )


def _of_its_stage(task: QueuedTask, in_hand: InHand | None) -> QueuedTask:
    """The task without the progress of a stage that is over.

    A stage is written down as it begins, and how far it is some seconds later, with the next sign of
    life. What is no stage here (it files, it asks the gate) comes after those that are.
    """
    told = task.progress
    if told is None or in_hand is None or in_hand.task != task.task:
        return task
    running = {each.stage for each in in_hand.steps if each.state == "running"}
    begun = {each.stage for each in in_hand.steps}
    now_on = told.stage in running if running else told.stage not in begun
    return task if now_on else replace(task, progress=None)


def _left(in_hand: InHand, row: ArrivalRow) -> bool:
    """Whether a stage is what a run of the queue left, that was killed or cancelled in it."""
    if in_hand.task != row.task or row.started is None:
        return False
    over = row.finished or row.not_before  # one that was lost waits from its end on
    return over is not None and row.started <= in_hand.steps[-1].started <= over


def _place(*order: ColumnElement[Any] | InstrumentedAttribute[int]) -> ColumnElement[int]:
    """The place of an arrival among those of its sequence."""
    return func.row_number().over(partition_by=ArrivalRow.sequence, order_by=order)


def _first_of_each(
    session: Session,
    names: Sequence[str],
    states: Collection[ArrivalState],
    place: ColumnElement[int],
    most: int,
) -> dict[str, list[ArrivalRow]]:
    ranked = (
        select(ArrivalRow.id, place.label("place"))
        .where(ArrivalRow.sequence.in_(names), ArrivalRow.state.in_(states))
        .subquery()
    )
    wanted = (
        select(ArrivalRow)
        .join(ranked, ranked.c.id == ArrivalRow.id)
        .where(ranked.c.place <= most)
        .order_by(ArrivalRow.sequence, ranked.c.place)
        .options(_LIGHT)
    )
    found: dict[str, list[ArrivalRow]] = {name: [] for name in names}
    for row in session.scalars(wanted):
        found[row.sequence].append(row)
    return found


def _seconds(session: Session, names: Sequence[str]) -> dict[str, float | None]:
    """What a task of each sequence took of late."""
    learned = (
        select(
            ArrivalRow.sequence,
            ArrivalRow.started,
            ArrivalRow.finished,
            _place(ArrivalRow.id.desc()).label("place"),
        )
        .where(ArrivalRow.sequence.in_(names), ArrivalRow.state == "learned")
        .subquery()
    )
    spans: dict[str, list[tuple[datetime | None, datetime | None]]] = {}
    rows = select(learned.c.sequence, learned.c.started, learned.c.finished)
    for sequence, started, finished in session.execute(rows.where(learned.c.place <= RECENT)):
        spans.setdefault(sequence, []).append((started, finished))
    return {sequence: mean_seconds(each) for sequence, each in spans.items()}


def _in_hand(session: Session, names: Sequence[str]) -> dict[str, InHand]:
    """Of each sequence, the task whose stage was begun last, with its stages."""
    newest = select(func.max(Stage.id)).where(Stage.sequence.in_(names)).group_by(Stage.sequence)
    last = select(Stage.sequence, Stage.task).where(Stage.id.in_(newest)).subquery()
    rows = session.execute(
        select(Stage.sequence, Stage.task, Stage.stage, Stage.state, Stage.started, Stage.finished)
        .join(
            last,
            and_(Stage.sequence == last.c.sequence, Stage.task.is_not_distinct_from(last.c.task)),
        )
        .order_by(Stage.id)
    )
    steps: dict[tuple[str, str | None], dict[str, StageStep]] = {}
    for sequence, task, stage, state, started, finished in rows:
        of_task = steps.setdefault((sequence, task), {})
        of_task.pop(stage, None)  # an attempt at it again is the last one begun
        of_task[stage] = StageStep(
            stage=stage, state=cast(StageState, state), started=started, finished=finished
        )
    return {
        sequence: InHand(task=task, steps=tuple(found.values()), queued=False)
        for (sequence, task), found in steps.items()
    }


def _lately(session: Session, sequence: str | None, now: datetime) -> tuple[QueuedTask, ...]:
    wanted = (
        select(ArrivalRow)
        .where(ArrivalRow.state.in_(DONE))
        .order_by(ArrivalRow.finished.desc(), ArrivalRow.id.desc())
        .limit(LATELY)
        .options(_LIGHT)
    )
    if sequence is not None:
        wanted = wanted.where(ArrivalRow.sequence == sequence)
    return tuple(_task(row, now) for row in session.scalars(wanted))


def _refused(session: Session) -> tuple[RefusedSubmission, ...]:
    rows = session.execute(
        select(
            *(SubmissionRow.id, SubmissionRow.source, SubmissionRow.submitted_by),
            *(SubmissionRow.reason, SubmissionRow.created),
        )
        .where(SubmissionRow.state == "refused")
        .order_by(SubmissionRow.id.desc())
        .limit(LATELY)
    )
    return tuple(
        RefusedSubmission(
            id=number, source=cast(Source, source), submitted_by=by, reason=reason, created=created
        )
        for number, source, by, reason, created in rows
    )


def _task(row: ArrivalRow, now: datetime) -> QueuedTask:
    running = row.state == "running"
    return QueuedTask(
        arrival=row.id,
        sequence=row.sequence,
        task=row.task,
        state=cast(ArrivalState, row.state),
        held=row.held,
        cancelling=running and row.cancel_requested,
        priority=row.priority,
        queue=row.queue,
        attempt=row.attempt,
        flow_run=row.flow_run_id,
        created=row.created,
        started=row.started,
        finished=row.finished,
        not_before=row.not_before,
        heartbeat=row.heartbeat,
        silent_seconds=silent_seconds(row.state, row.heartbeat, now),
        progress=progress_of(row.progress, now, row.heartbeat) if running else None,
        expected=None,
        version=row.version,
        reason=row.reason,
    )


def _to_the_minute(when: datetime | None) -> datetime | None:
    """An estimate says no more than it knows; and a page is not another one every second."""
    return None if when is None else when.replace(second=0, microsecond=0) + timedelta(minutes=1)
