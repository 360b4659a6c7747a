"""What waits, runs and was learned, in all sequences; and what people do with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from dashboard.bodies import Name
from dashboard.forms import Field
from dashboard.links import Links, find_links
from dashboard.office import RowNumber
from dashboard.once import and_forget, lead_to, told_once
from dashboard.pages.shown import show
from dashboard.refusals import status_of
from dashboard.visitors import PageRegistry, Posting, PostingQueue, Viewing, Visitor
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.arrival_records import Arrival
from registry.clock import now
from registry.plain import LARGEST
from registry.queue_records import QueueView
from registry.queue_view import queue_view
from registry.queueing import Queue
from registry.store import Registry

router = APIRouter(include_in_schema=False)

Page = Annotated[int, Query(ge=1, le=LARGEST // 100)]

TOLD = {
    "cancelled": "Arrival {} is cancelled.",
    "ending": "Arrival {} is asked to end: it checkpoints and leaves within seconds.",
    "retried": "Arrival {} waits for its turn again.",
    "held": "Arrival {} is held: later ones go on.",
    "released": "Arrival {} has its turn again.",
    "sequence-held": "The sequence is held: what runs goes on, nothing more is given out.",
    "sequence-released": "The sequence goes on.",
}
"""Word of a form -> what it just did; a page of ours tells it once (`dashboard.once`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """The page of the queue."""

    view: QueueView
    links: Links
    source: str | None
    """Where its live updates come from; None where it shows what none tell of."""
    told: str | None = None
    wrong: str | None = None


@router.get("/queue")
def queue(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: Annotated[Name | None, Query()] = None,
    page: Page = 1,
) -> Response:
    """The queue of all sequences, or of one."""
    told = just_done(request)
    shown = _shown(request, visitor, registry, sequence, page=page, told=told)
    return shown if told is None else and_forget(request, shown)


@router.post("/arrivals/{arrival}/cancel")
def cancel(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Take an arrival out of the queue, or ask a running one to end."""

    def do() -> Response:
        found = queue.cancel(arrival)
        return _back(request, found, "ending" if found.state == "running" else "cancelled", back)

    return _tried(request, visitor, queue, do)


@router.post("/arrivals/{arrival}/retry")
def retry(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Let a failed or cancelled arrival wait for its turn again."""
    return _tried(
        request, visitor, queue, lambda: _back(request, queue.retry(arrival), "retried", back)
    )


@router.post("/arrivals/{arrival}/hold")
def hold(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Pass an arrival over until it is released."""
    return _tried(
        request, visitor, queue, lambda: _back(request, queue.hold(arrival), "held", back)
    )


@router.post("/arrivals/{arrival}/release")
def release(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Let a held arrival have its turn again."""
    return _tried(
        request, visitor, queue, lambda: _back(request, queue.release(arrival), "released", back)
    )


@router.post("/sequences/{sequence}/hold")
def hold_sequence(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    sequence: Name,
    reason: Field = "",
    back: Field = "queue",
) -> Response:
    """Let a sequence give nothing out until it is released."""

    def do() -> Response:
        queue.hold_sequence(sequence, reason)
        return _to(request, sequence, "sequence-held", back)

    return _tried(request, visitor, queue, do, sequence)


@router.post("/sequences/{sequence}/release")
def release_sequence(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    sequence: Name,
    back: Field = "queue",
) -> Response:
    """Let a held sequence give out again."""

    def do() -> Response:
        queue.release_sequence(sequence)
        return _to(request, sequence, "sequence-released", back)

    return _tried(request, visitor, queue, do, sequence)


def just_done(request: Request) -> str | None:
    """What a form of ours just did, which its page tells once; None where it did nothing."""
    return told_once(request, TOLD)


def _shown(
    request: Request,
    visitor: Visitor,
    registry: Registry,
    sequence: str | None,
    *,
    page: int = 1,
    told: str | None = None,
    wrong: str | None = None,
    status: int = 200,
) -> Response:
    view = queue_view(registry, now(), sequence=sequence, page=page)
    first = sequence is None and view.page == 1
    return show(
        request,
        visitor,
        "queue.html",
        QueuePage(
            view=view,
            links=find_links(registry.settings),
            source="/queue/live" if first else None,
            told=told,
            wrong=wrong,
        ),
        title="Queue" if sequence is None else f"Queue of {sequence}",
        status=status,
    )


def _back(request: Request, arrival: Arrival, done: str, back: str) -> Response:
    return _to(request, arrival.sequence, done, back, arrival.id)


def _to(request: Request, sequence: str, done: str, back: str, arrival: int = 0) -> Response:
    """The page the form was on, which says what was done."""
    page = f"/sequences/{sequence}" if back == "sequence" else "/queue"
    return lead_to(request, page, done, arrival, rest="#queue")


def _tried(
    request: Request,
    visitor: Visitor,
    queue: Queue,
    do: Callable[[], Response],
    sequence: str | None = None,
) -> Response:
    """What a form asked for, or the page it was on with the line that says why not."""
    try:
        return do()
    except Unavailable:
        raise
    except (BadInput, CheckFailed) as error:
        status, wrong = status_of(error), str(error)
        return _shown(request, visitor, queue.registry, sequence, wrong=wrong, status=status)
