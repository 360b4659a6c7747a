"""What changes while a page is open: the queue and the running stage, as server-sent events.

One poller asks the registry for everything that anybody listens to, once a second at most, however
many listen; where nobody does, it is not there. A stream ends when its reader goes, when the server is
told to stop, when the store is away, within two beats of its reader's sign-in ending or his role
changing, and after two minutes in any case: who comes again is asked anew who he is.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dashboard.links import Links, find_links
from dashboard.office import Office, Secret, TheOffice
from dashboard.pages.shown import environment
from dashboard.refusals import refusal
from dashboard.visitors import PageSequence, Viewing, Visitor, still_there
from lori_core.errors import LoriError, Unavailable
from registry.clock import now
from registry.queue_records import QueueView, SequenceQueue
from registry.queue_view import queue_view, sequence_queues
from registry.store import Registry

POLL_SECONDS = 1.0
"""Between two looks at the registry."""

BEAT_SECONDS = 15.0
"""A stream that has nothing to tell says so, that nobody on its way takes it for dead; and as often it
is asked whether its reader is still let in."""

LIFE_SECONDS = 120.0

MOST_LISTENERS = 100
"""Streams at a time: the server's other half of connections is for pages."""

LAST_WORD_SECONDS = 1.0
"""What a stream that is to end may still take to say so."""

RETRY_MILLISECONDS = 2000

EVERYTHING = ""
"""Instead of the name of a sequence: the whole queue."""

Seen = SequenceQueue | QueueView

log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)


class Listener:
    """One open stream: the newest that was seen of what it listens to."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.over = asyncio.Event()
        self._seen: Seen | None = None
        self._news = asyncio.Event()

    def tell(self, seen: Seen) -> None:
        """Something was seen; what was not taken before is forgotten."""
        if seen != self._seen:
            self._seen = seen
            self._news.set()

    def end(self) -> None:
        """The stream is to end now."""
        self.over.set()
        self._news.set()

    async def wait(self, seconds: float) -> Seen | None:
        """What is new, as soon as there is any; None after so many seconds, or at the end."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return None
        self._news.clear()
        return self._seen


class Live:
    """All open streams of one server, and what looks at the registry for them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listeners: set[Listener] = set()
        self._polling: asyncio.Task[None] | None = None
        self._newest: Mapping[str, Seen] = {}
        self._looked = 0.0
        self._ending = False

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def join(self, about: str) -> Listener:
        """Listen to a sequence, or to everything.

        Raises:
            Unavailable: too many listen, or the server ends.
        """
        if self._ending or len(self._listeners) >= MOST_LISTENERS:
            raise Unavailable(
                f"live updates ({len(self._listeners)} listen)",
                f"at most {MOST_LISTENERS}, of a server that goes on",
                "Reload the page to see what is new.",
            )
        listener = Listener(about)
        self._listeners.add(listener)
        if self._polling is None:
            self._newest = {}
            self._polling = asyncio.create_task(self._poll())
            self._polling.add_done_callback(self._polled)
        elif about in self._newest:
            listener.tell(self._newest[about])
        return listener

    def leave(self, listener: Listener) -> None:
        """A stream is over."""
        self._listeners.discard(listener)

    def end(self) -> None:
        """End every stream, and let nobody in again."""
        self._ending = True
        self._end_streams()

    async def _poll(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            await asyncio.sleep(max(0.0, self._looked + POLL_SECONDS - clock()))
            while self._listeners and not self._ending:
                self._looked = clock()
                wanted = frozenset(each.about for each in self._listeners)
                self._newest = await asyncio.to_thread(_look, self._registry, wanted)
                for each in self._listeners:
                    if each.about in self._newest:
                        each.tell(self._newest[each.about])
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._polling = None  # in the same step as the last look at who listens

    def _polled(self, polling: "asyncio.Task[None]") -> None:
        """Where the store is away who listens must come again, and is told so then."""
        if polling.cancelled() or (error := polling.exception()) is None:
            return
        if isinstance(error, LoriError):
            log.error("live updates end: %s", error)
        else:
            log.critical("live updates ended by an error of their own", exc_info=error)
        self._end_streams()

    def _end_streams(self) -> None:
        for each in tuple(self._listeners):
            each.end()


def _look(registry: Registry, wanted: frozenset[str]) -> dict[str, Seen]:
    at = now()
    found: dict[str, Seen] = {**sequence_queues(registry, wanted - {EVERYTHING}, at)}
    if EVERYTHING in wanted:
        found[EVERYTHING] = queue_view(registry, at)
    return found


@dataclass(frozen=True, slots=True)
class _Teller:
    """Writes what was seen as the parts of a page, for one visitor."""

    visitor: Visitor
    links: Links

    def parts(self, seen: Seen) -> dict[str, str]:
        """Name of an event -> the HTML that goes into every element which asks for it."""
        made = environment().get_template("parts/queue.html").make_module()
        macros = made.__dict__
        if isinstance(seen, QueueView):
            return {
                "queue": str(macros["queues"](seen, self.visitor, self.links)),
                "lead": str(macros["lead"](seen)),
            }
        return {
            "stage": str(macros["stage"](seen, self.links)),
            "queue": str(macros["queue"](seen, self.visitor, self.links)),
            "tile": str(macros["tile"](seen)),
        }


class EventStream(Response):
    """The answer that goes on: an event whenever a part of the page is another than before."""

    def __init__(
        self, live: Live, about: str, teller: _Teller, *, still_there: Callable[[], bool]
    ) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        del self.headers["content-length"]
        self._live, self._about, self._teller = live, about, teller
        self._still_there = still_there

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until somebody ends it."""
        try:
            listener = self._live.join(self._about)
        except Unavailable as error:
            await refusal(503, str(error))(scope, receive, send)
            return
        writing = asyncio.create_task(self._write(listener, send))
        gone = asyncio.create_task(_gone(receive))
        over = asyncio.create_task(listener.over.wait())
        try:
            await asyncio.wait(
                {writing, gone, over}, timeout=LIFE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            listener.end()
            await asyncio.wait({writing}, timeout=LAST_WORD_SECONDS)  # it may read no more
        finally:
            self._live.leave(listener)
            for each in (writing, gone, over):
                each.cancel()
            ends = await asyncio.gather(writing, gone, over, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _write(self, listener: Listener, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for text in self._events(listener):
            await send(_chunk(text, more=True))
        await send(_chunk("", more=False))

    async def _events(self, listener: Listener) -> AsyncIterator[str]:
        told = dict[str, str]()
        clock = asyncio.get_running_loop().time
        asked = clock()
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        while True:
            seen = await listener.wait(BEAT_SECONDS)
            if listener.over.is_set():
                return
            if seen is None or clock() >= asked + BEAT_SECONDS:
                if not await asyncio.to_thread(self._still_there):
                    return
                asked = clock()
            if seen is None:
                yield ": nothing new\n\n"
                continue
            for name, html in self._teller.parts(seen).items():
                if told.get(name) != html:
                    told[name] = html
                    yield event(name, html)


def event(name: str, data: str) -> str:
    """A server-sent event, whatever lines its data has."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


def _chunk(text: str, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get("/sequences/{sequence}/live")
def of_sequence(
    request: Request, visitor: Viewing, office: TheOffice, secret: Secret, sequence: PageSequence
) -> Response:
    """The events `queue`, `stage` and `tile` (the queue in short) of a sequence."""
    return _stream(request, visitor, office, secret, sequence)


@router.get("/queue/live")
def of_everything(
    request: Request, visitor: Viewing, office: TheOffice, secret: Secret
) -> Response:
    """The events `queue` and `lead` of all sequences: the first page of the queue."""
    return _stream(request, visitor, office, secret, EVERYTHING)


def _stream(
    request: Request, visitor: Visitor, office: Office, secret: str | None, about: str
) -> Response:
    live = request.app.state.live
    assert isinstance(live, Live)
    return EventStream(
        live,
        about,
        _Teller(visitor, find_links(office.registry.settings)),
        still_there=partial(still_there, request, office, secret, visitor),
    )
