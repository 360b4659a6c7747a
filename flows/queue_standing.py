"""The queue of a sequence as `lori status` shows it: what runs, what waits and how long, what was."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from flows.times import json_time
from registry.arrival_records import DONE, OPEN, OUT, Arrival, ArrivalState, HeldSequence
from registry.arrivals import in_turn
from registry.desks import QueueBook

LEARNED: tuple[ArrivalState, ...] = ("learned",)

HISTORY = 5
"""Arrivals that are over and shown."""

RECENT = 5
"""Learned arrivals whose times tell how long the next will take."""


class Progress(TypedDict):
    """How far a running arrival is."""

    stage: str
    done: int
    total: int
    """0 while it is unknown."""
    text: str
    seconds_left: float | None
    """Of this stage, at its pace so far; None while there is none."""


class QueueItem(TypedDict):
    """One arrival."""

    arrival: int
    task: str
    state: str
    held: bool
    priority: int
    queue: str
    """Which workers may take it: `cpu`, `gpu-1`, ..."""
    attempt: int
    submitted: str
    started: str | None
    finished: str | None
    not_before: str | None
    """It waits at least until then."""
    progress: Progress | None
    """While it runs."""
    expected: str | None
    """When it should be learned, if nothing holds it up and a worker is there."""
    version: int | None
    reason: str | None


class HeldStanding(TypedDict):
    """A sequence that gives nothing out."""

    reason: str
    by: str
    since: str


class QueueStanding(TypedDict):
    """The queue of one sequence."""

    items: list[QueueItem]
    """In the order of their turns: what is out first."""
    history: list[QueueItem]
    """The last ones that were learned or cancelled, oldest first."""
    held: HeldStanding | None
    blocked_by: int | None
    """The failed arrival everything waits for."""
    seconds_a_task: float | None
    """What a task of this sequence took of late, from its start to its version."""


def queue_standing(queue: QueueBook, sequence: str, now: datetime) -> QueueStanding:
    """The queue of a sequence."""
    there = in_turn(queue.arrivals(sequence, states=OPEN))
    there = (
        *(each for each in there if each.state in OUT),
        *(each for each in there if each.state not in OUT),
    )
    past = queue.arrivals(sequence, states=DONE, last=HISTORY)
    learned = queue.arrivals(sequence, states=LEARNED, last=RECENT)
    held = next((each for each in queue.held_sequences() if each.sequence == sequence), None)
    blocked = queue.blocked().get(sequence)
    seconds = seconds_a_task(learned)
    stopped = held is not None or blocked is not None
    expected = _expected(there, None if stopped else seconds, now)
    return QueueStanding(
        items=[_item(each, expected.get(each.id), now) for each in there],
        history=[_item(each, None, now) for each in past],
        held=None if held is None else _held(held),
        blocked_by=blocked,
        seconds_a_task=seconds,
    )


def seconds_a_task(learned: Sequence[Arrival]) -> float | None:
    """The mean time of learned arrivals, from the start of the last attempt; None without any."""
    spans = [
        (each.finished - each.started).total_seconds()
        for each in learned
        if each.started is not None and each.finished is not None
    ]
    return sum(spans) / len(spans) if spans else None


def _expected(
    there: Sequence[Arrival], seconds: float | None, now: datetime
) -> dict[int, datetime]:
    """When each should be learned: one after the other, each as long as those before it."""
    if seconds is None:
        return {}
    span, free, found = timedelta(seconds=seconds), now, {}
    for each in there:
        if each.held or each.state == "failed":
            continue
        begun = each.started if each.state == "running" and each.started is not None else free
        free = max(begun + span, now)
        if each.not_before is not None:
            free = max(free, each.not_before + span)
        found[each.id] = free
    return found


def _item(arrival: Arrival, expected: datetime | None, now: datetime) -> QueueItem:
    return QueueItem(
        arrival=arrival.id,
        task=arrival.task,
        state=arrival.state,
        held=arrival.held,
        priority=arrival.priority,
        queue=arrival.queue,
        attempt=arrival.attempt,
        submitted=json_time(arrival.created),
        started=_time(arrival.started),
        finished=_time(arrival.finished),
        not_before=_time(arrival.not_before),
        progress=_progress(arrival, now) if arrival.state == "running" else None,
        expected=_time(expected),
        version=arrival.version,
        reason=arrival.reason,
    )


def _progress(arrival: Arrival, now: datetime) -> Progress | None:
    told = arrival.progress
    if "stage" not in told:
        return None
    done, total = _count(told.get("done")), _count(told.get("total"))
    since = told.get("since")
    left = None
    if isinstance(since, str) and 0 < done <= total:
        spent = (now - datetime.fromisoformat(since)).total_seconds()
        left = max(spent, 0.0) / done * (total - done)
    return Progress(
        stage=str(told["stage"]),
        done=done,
        total=total,
        text=str(told.get("text", "")),
        seconds_left=left,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _held(held: HeldSequence) -> HeldStanding:
    return HeldStanding(reason=held.reason, by=held.by, since=json_time(held.created))


def _time(at: datetime | None) -> str | None:
    return None if at is None else json_time(at)
