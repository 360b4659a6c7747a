"""What is sent to be learned, what waits, runs and was learned; and what holds it up.

Files that a submission names are this server's, under the folders of `LORI_SUBMIT_FROM`: they are
looked at by whoever dispatches, and what is wrong is said in the submission's `reason`.
"""

from typing import Annotated, get_args

from fastapi import APIRouter, Path, Query

from dashboard.bodies import Name, ReasonBody, SubmissionBody
from dashboard.office import Readable, ReadingQueue, RowNumber, WritingQueue
from lori_core.errors import BadInput
from registry.arrival_records import OPEN, Arrival, ArrivalState, HeldSequence, Submission
from registry.clock import now
from registry.plain import LARGEST
from registry.queue_records import QueueView
from registry.queue_view import queue_view

router = APIRouter(prefix="/api", tags=["arrivals"])

Sequence = Annotated[Name, Path()]
OptionalSequence = Annotated[Name | None, Query()]
MOST = 1000
"""Arrivals or submissions in an answer, those that are not over yet apart: they are counted from it."""

Last = Annotated[int | None, Query(ge=1, le=MOST)]
States = Annotated[str | None, Query(max_length=100)]

STATES: tuple[ArrivalState, ...] = get_args(ArrivalState)


@router.post("/submissions")
def submit(queue: WritingQueue, body: SubmissionBody) -> Submission:
    """Send a sequence file or one task, as JSON; the answer says its number, not yet what came of it."""
    return queue.submit(
        body.document,
        source="api",
        folder=body.folder,
        priority=body.priority,
        again=body.again,
    )


@router.get("/submissions")
def submissions(
    queue: ReadingQueue, last: Annotated[int, Query(ge=1, le=MOST)] = 20
) -> tuple[Submission, ...]:
    """The newest submissions, in the order they came."""
    return queue.submissions(last)


@router.get("/submissions/{submission}")
def submission(queue: ReadingQueue, submission: RowNumber) -> Submission:
    """A submission: `received`, `accepted` with its arrivals, or `refused` with the reason."""
    return queue.submission(submission)


@router.get("/arrivals")
def arrivals(
    queue: ReadingQueue,
    sequence: OptionalSequence = None,
    states: States = None,
    last: Last = None,
) -> tuple[Arrival, ...]:
    """Arrivals in the order they came; `states=waiting,running` names those wanted.

    Without `last` the newest 1000; of states that are not over yet, all.
    """
    wanted = _states(states)
    whole = wanted is not None and set(wanted) <= set(OPEN)
    return queue.arrivals(sequence, states=wanted, last=last or (None if whole else MOST))


@router.get("/arrivals/{arrival}")
def arrival(queue: ReadingQueue, arrival: RowNumber) -> Arrival:
    """One arrival: its state, its progress, why it failed."""
    return queue.arrival(arrival)


@router.post("/arrivals/{arrival}/cancel")
def cancel(queue: WritingQueue, arrival: RowNumber) -> Arrival:
    """Take an arrival out of the queue; a running one is asked to end, within seconds."""
    return queue.cancel(arrival)


@router.post("/arrivals/{arrival}/retry")
def retry(queue: WritingQueue, arrival: RowNumber) -> Arrival:
    """Let a failed or cancelled arrival wait for its turn again."""
    return queue.retry(arrival)


@router.post("/arrivals/{arrival}/hold")
def hold(queue: WritingQueue, arrival: RowNumber) -> Arrival:
    """Pass an arrival over until it is released; later ones go on."""
    return queue.hold(arrival)


@router.post("/arrivals/{arrival}/release")
def release(queue: WritingQueue, arrival: RowNumber) -> Arrival:
    """Let a held arrival have its turn again."""
    return queue.release(arrival)


@router.get("/queue")
def whole_queue(
    registry: Readable,
    sequence: OptionalSequence = None,
    page: Annotated[int, Query(ge=1, le=LARGEST // 100)] = 1,
) -> QueueView:
    """What the page of the queue shows: a page of sequences, what is over of late, what was refused."""
    return queue_view(registry, now(), sequence=sequence, page=page)


@router.get("/queue/blocked")
def blocked(queue: ReadingQueue) -> dict[str, int]:
    """Sequence -> the failed arrival that blocks it, until that is retried or cancelled."""
    return dict(queue.blocked())


@router.get("/queue/held")
def held(queue: ReadingQueue) -> tuple[HeldSequence, ...]:
    """Sequences that give nothing out."""
    return queue.held_sequences()


@router.post("/sequences/{sequence}/hold")
def hold_sequence(queue: WritingQueue, sequence: Sequence, body: ReasonBody) -> HeldSequence:
    """Let a sequence give nothing out until it is released; what runs goes on."""
    return queue.hold_sequence(sequence, body.reason)


@router.post("/sequences/{sequence}/release")
def release_sequence(queue: WritingQueue, sequence: Sequence) -> dict[str, str]:
    """Let a held sequence give out again."""
    queue.release_sequence(sequence)
    return {"released": sequence}


def _states(text: str | None) -> tuple[ArrivalState, ...] | None:
    if text is None:
        return None
    words = text.split(",")
    if unknown := [word for word in words if word not in STATES]:
        raise BadInput(f"states: {unknown[0]!r}", f"some of {','.join(STATES)}")
    return tuple(state for state in STATES if state in words)
