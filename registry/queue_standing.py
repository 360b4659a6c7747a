"""The queue of a sequence as `lori status` shows it: what runs, what waits and how long, what was."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from registry.arrival_records import DONE, OPEN, OUT, Arrival, ArrivalState, HeldSequence
from registry.arrivals import in_turn
from registry.clock import json_time
from registry.desks import QueueBook
from registry.queue_times import (
    RECENT,
    expected_times,
    mean_seconds,
    progress_of,
    silent_seconds,
)

LEARNED: tuple[ArrivalState, ...] = ("learned",)

HISTORY = 5
"""Arrivals that are over and shown."""


class Progress(TypedDict):
    """How far a running arrival is."""

    stage: str
    done: int
    total: int
    """0 while it is unknown."""
    text: str
    seconds_left: float | None
    """Of this stage, at its pace when the run was last heard of; None while there is none."""


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
    silent_seconds: float | None
    """How long it runs without a sign of life, once one was missed."""
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
    expected = expected_times(there, None if stopped else seconds, now)
    return QueueStanding(
        items=[_item(each, when, now) for each, when in zip(there, expected, strict=True)],
        history=[_item(each, None, now) for each in past],
        held=None if held is None else _held(held),
        blocked_by=blocked,
        seconds_a_task=seconds,
    )


def seconds_a_task(learned: Sequence[Arrival]) -> float | None:
    """The mean time of learned arrivals, from the start of the last attempt; None without any."""
    return mean_seconds((each.started, each.finished) for each in learned)


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
        silent_seconds=silent_seconds(arrival.state, arrival.heartbeat, now),
        progress=_progress(arrival, now) if arrival.state == "running" else None,
        expected=_time(expected),
        version=arrival.version,
        reason=arrival.reason,
    )


def _progress(arrival: Arrival, now: datetime) -> Progress | None:
    found = progress_of(arrival.progress, now, arrival.heartbeat)
    if found is None:
        return None
    return Progress(
        stage=found.stage,
        done=found.done,
        total=found.total,
        text=found.text,
        seconds_left=found.seconds_left,
    )


def _held(held: HeldSequence) -> HeldStanding:
    return HeldStanding(reason=held.reason, by=held.by, since=json_time(held.created))


def _time(at: datetime | None) -> str | None:
    return None if at is None else json_time(at)
