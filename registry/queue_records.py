"""What crosses the registry's boundary about the queue as a page shows it: plain frozen data."""

from dataclasses import dataclass
from datetime import datetime

from registry.arrival_records import ArrivalState, HeldSequence, Source
from registry.queue_times import StageProgress
from registry.records import StageState


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTask:
    """One arrival, as it stands."""

    arrival: int
    sequence: str
    task: str
    state: ArrivalState
    held: bool
    cancelling: bool
    """True: it runs, and somebody asked to cancel it."""
    priority: int
    queue: str
    """Which workers may take it: `cpu`, `gpu-1`, ..."""
    attempt: int
    flow_run: str | None
    """Prefect's id of the run that has its turn."""
    created: datetime
    started: datetime | None
    finished: datetime | None
    not_before: datetime | None
    """It waits at least until then."""
    heartbeat: datetime | None
    """When its last run last gave a sign of life."""
    silent_seconds: float | None
    """How long it runs without a sign of life, once one was missed."""
    progress: StageProgress | None
    """While it runs."""
    expected: datetime | None
    """When it should be learned, if nothing holds it up and a worker is there."""
    version: int | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStep:
    """The last attempt at one stage of the task that is in hand."""

    stage: str
    state: StageState
    started: datetime
    finished: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InHand:
    """The task whose stage was begun last, if it is not over."""

    task: str | None
    steps: tuple[StageStep, ...]
    """In the order they were begun."""
    queued: bool
    """False: a run by hand, which says its stages here and not how far it is in them. Whether its
    process still lives is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceQueue:
    """The queue of one sequence."""

    sequence: str
    declared: bool
    """False: nothing of it was ever begun, so that it has no page."""
    waiting: int
    """Arrivals that wait, those that are held among them."""
    running: int
    """Arrivals that have the turn: one at most."""
    failed: int
    items: tuple[QueuedTask, ...]
    """What is out, then what failed and blocks the others, then the others in the order of their turns."""
    more: int
    """Arrivals that come after those."""
    history: tuple[QueuedTask, ...]
    """The last ones that were learned or cancelled, the newest first."""
    held: HeldSequence | None
    """Why it gives nothing out."""
    blocked_by: int | None
    """The failed arrival everything waits for."""
    seconds_a_task: float | None
    """What a task of this sequence took of late."""
    in_hand: InHand | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedSubmission:
    """Something that was sent and not taken."""

    id: int
    source: Source
    submitted_by: str
    reason: str | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """The queue of everything."""

    at: datetime
    sequences: tuple[SequenceQueue, ...]
    """Those in which something runs, failed, is held or waits, in this order, then by name."""
    total: int
    """How many such sequences there are."""
    page: int
    size: int
    only: str | None
    """The one sequence that was asked for."""
    history: tuple[QueuedTask, ...]
    """What was learned or cancelled last, the newest first."""
    refused: tuple[RefusedSubmission, ...]
    """The newest submissions that were refused, the newest first."""
    received: int
    """Submissions that nobody has looked at yet."""
