"""What waits, runs and was learned, in all sequences; and what people do with it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from dashboard.bodies import Name
from dashboard.forms import Field
from dashboard.links import Links, find_links
from dashboard.office import RowNumber
from dashboard.pages.shown import show
from dashboard.refusals import status_of
from dashboard.visitors import PageRegistry, Posting, PostingQueue, Viewing, Visitor
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.arrival_records import Arrival
from registry.clock import now
from registry.plain import LARGEST
from registry.queue_records import QueueView
from registry.queue_view import queue_view
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
"""Code in the address -> what was just done."""


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
    return _shown(request, visitor, registry, sequence, page=page, told=just_done(request))


@router.post("/arrivals/{arrival}/cancel")
def cancel(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Take an arrival out of the queue, or ask a running one to end."""
    try:
        found = queue.cancel(arrival)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error)
    return _back(found, "ending" if found.state == "running" else "cancelled", back)


@router.post("/arrivals/{arrival}/retry")
def retry(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Let a failed or cancelled arrival wait for its turn again."""
    try:
        return _back(queue.retry(arrival), "retried", back)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error)


@router.post("/arrivals/{arrival}/hold")
def hold(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Pass an arrival over until it is released."""
    try:
        return _back(queue.hold(arrival), "held", back)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error)


@router.post("/arrivals/{arrival}/release")
def release(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    arrival: RowNumber,
    back: Field = "queue",
) -> Response:
    """Let a held arrival have its turn again."""
    try:
        return _back(queue.release(arrival), "released", back)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error)


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
    try:
        queue.hold_sequence(sequence, reason)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error, sequence)
    return _to(sequence, "sequence-held", back)


@router.post("/sequences/{sequence}/release")
def release_sequence(
    request: Request,
    visitor: Posting,
    queue: PostingQueue,
    sequence: Name,
    back: Field = "queue",
) -> Response:
    """Let a held sequence give out again."""
    try:
        queue.release_sequence(sequence)
    except (BadInput, CheckFailed) as error:
        return _refused(request, visitor, queue.registry, error, sequence)
    return _to(sequence, "sequence-released", back)


def just_done(request: Request) -> str | None:
    """What a form of ours did, as the address it led back to says; None where it says nothing of ours."""
    line = TOLD.get(request.query_params.get("told", ""))
    arrival = request.query_params.get("arrival", "")
    known = arrival.isascii() and arrival.isdigit() and len(arrival) <= len(str(LARGEST))
    return None if line is None else line.format(arrival if known else "")


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


def _back(arrival: Arrival, done: str, back: str) -> Response:
    return _to(arrival.sequence, done, back, arrival.id)


def _to(sequence: str, done: str, back: str, arrival: int = 0) -> Response:
    """The page the form was on, which says what was done."""
    page = f"/sequences/{sequence}" if back == "sequence" else "/queue"
    which = f"&arrival={arrival}" if arrival else ""
    return RedirectResponse(f"{page}?told={done}{which}#queue", status_code=303)


def _refused(
    request: Request,
    visitor: Visitor,
    registry: Registry,
    error: BadInput | CheckFailed,
    sequence: str | None = None,
) -> Response:
    if isinstance(error, Unavailable):
        raise error
    return _shown(request, visitor, registry, sequence, wrong=str(error), status=status_of(error))
