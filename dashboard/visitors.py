"""Who looks at a page: the dependencies of every page and of every form it sends.

    @router.get("/sequences/{sequence}")
    def sequence(request: Request, visitor: Viewing, sequence: PageSequence) -> HTMLResponse: ...

    @router.post("/sequences/{sequence}/promote")
    def promote(request: Request, visitor: Posting, sequence: PageSequence, desk: PostingDesk) -> Response: ...

`visitor: Posting` comes before `PageSequence`: a form is refused before it learns what exists.
"""

import logging
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from starlette.responses import RedirectResponse

from dashboard.forms import Field, refuse_foreign, refuse_stale
from dashboard.office import ANYONE, Caller, Office, Secret, TheOffice, Way
from lori_core.errors import CheckFailed, LoriError, Unavailable
from lori_core.names import check_name
from registry import sign_ins
from registry.decisions import Actor
from registry.desk import Desk
from registry.queueing import Queue
from registry.roles import Action, allow, may
from registry.row_rights import NOTHING, SeenRows, seen_by
from registry.store import Registry

SIGN_IN = "/sign-in"
_KNOWN = "lori.visitor"
"""Where a request says who was found to make it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks at a page, and what he may."""

    actor: Actor

    signed_in: bool
    """False: nobody in particular, who reads a server without accounts."""

    csrf: str
    """What every form of his pages sends back in the field `csrf`; empty where nobody signed in."""

    accounts: bool
    """Whether this server knows people (accounts, a trusted proxy): if so, who is not signed in sees
    the sign-in page alone. False: the embedded default, where the token printed at start signs in."""

    way: Way = "nobody"
    """How he came; who came by a proxy signs out there."""

    sign_in: int | None = None
    """The number of his sign-in."""

    rows: SeenRows = NOTHING

    def may(self, action: Action) -> bool:
        """Whether he is signed in and his role has this action."""
        return (self.signed_in or action == "read") and may(self.actor, action)

    def sees_rows(self, sequence: str, task: str) -> bool:
        """Whether he may see prompts and answers of a task; rows that were hidden nobody sees."""
        return self.rows.sees(sequence, task)

    @property
    def signs_out_here(self) -> bool:
        """Whether there is a sign-in of ours to end."""
        return self.way in {"password", "printed token"}


STRANGER = Visitor(actor=ANYONE, signed_in=False, csrf="", accounts=True)
"""Who looks where nobody knows yet: at the page of an error."""


class SignInFirst(Exception):
    """Nobody is signed in, and this page is for somebody."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


def _visitor(
    request: Request, office: TheOffice, secret: Secret, after: BackgroundTasks
) -> Visitor:
    knows_people = office.knows_people()
    caller = office.caller(request, secret, knows_people=knows_people)
    sign_in = caller.sign_in
    if sign_in is not None and sign_in.unseen_long:
        after.add_task(_note_seen, office.registry, sign_in.id)
    visitor = Visitor(
        actor=caller.actor,
        signed_in=caller.way != "nobody",
        csrf="" if sign_in is None else sign_in.csrf,
        accounts=knows_people,
        way=caller.way,
        sign_in=None if sign_in is None else sign_in.id,
        rows=_seen(office.registry, caller, knows_people=knows_people),
    )
    request.scope[_KNOWN] = visitor
    return visitor


def _seen(registry: Registry, caller: Caller, *, knows_people: bool) -> SeenRows:
    if caller.way == "nobody" and knows_people:
        return NOTHING
    return seen_by(registry, caller.actor, owner=caller.owns_files)


def _note_seen(registry: Registry, sign_in: int) -> None:
    try:
        sign_ins.note_seen(registry, sign_in)
    except Unavailable as error:  # the page was answered; he will be seen again
        log.warning("could not note a visit: %s", error)


Known = Annotated[Visitor, Depends(_visitor)]
"""Who looks, nobody in particular too: for the sign-in page."""


async def _viewing(request: Request, visitor: Known) -> Visitor:
    if visitor.accounts and not visitor.signed_in:
        if request.method != "GET":
            raise CheckFailed("form", "nobody is signed in; sign in and send it again")
        raise SignInFirst(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    allow(visitor.actor, "read")
    return visitor


Viewing = Annotated[Visitor, Depends(_viewing)]
"""Who looks at a page; nobody is sent to the sign-in page where people are known."""


async def _posting(request: Request, visitor: Known, csrf: Field = "") -> Visitor:
    if visitor.sign_in is None:
        raise CheckFailed("form", "nobody is signed in; sign in and send it again")
    refuse_foreign(request)
    refuse_stale(csrf, visitor.csrf)
    allow(visitor.actor, "read")
    return visitor


Posting = Annotated[Visitor, Depends(_posting)]
"""Who sends a form: signed in, from a page of ours (the field `csrf`, and where it came from)."""


async def _registry(office: TheOffice, visitor: Viewing) -> Registry:
    return office.registry


PageRegistry = Annotated[Registry, Depends(_registry)]
"""The registry, once the visitor is known."""


def _sequence(sequence: str, registry: PageRegistry) -> str:
    return registry.sequence(check_name("sequence", sequence)).name


PageSequence = Annotated[str, Depends(_sequence)]
"""The name in the path `{sequence}`, of a sequence that exists."""


async def _page_desk(registry: PageRegistry, visitor: Viewing) -> Desk:
    return Desk(registry, visitor.actor)


async def _posting_desk(visitor: Posting, registry: PageRegistry) -> Desk:
    return Desk(registry, visitor.actor)


async def _page_queue(registry: PageRegistry, visitor: Viewing) -> Queue:
    return Queue(registry, visitor.actor)


async def _posting_queue(visitor: Posting, registry: PageRegistry) -> Queue:
    return Queue(registry, visitor.actor)


PageDesk = Annotated[Desk, Depends(_page_desk)]
PostingDesk = Annotated[Desk, Depends(_posting_desk)]
PageQueue = Annotated[Queue, Depends(_page_queue)]
PostingQueue = Annotated[Queue, Depends(_posting_queue)]


def still_there(request: Request, office: Office, secret: str | None, visitor: Visitor) -> bool:
    """Whether a request that goes on would still be let in as the same person, in the same role."""
    try:
        knows_people = office.knows_people()
        caller = office.caller(request, secret, knows_people=knows_people)
    except LoriError:  # his token, or the proxy's word for him, is not taken any more; or no store
        return False
    sign_in = None if caller.sign_in is None else caller.sign_in.id
    same = (caller.actor, caller.way, sign_in) == (visitor.actor, visitor.way, visitor.sign_in)
    return same and not (knows_people and caller.way == "nobody")


def visitor_of(request: Request) -> Visitor:
    """Who looks, for the page of an error: who is known by now, else a stranger."""
    found = request.scope.get(_KNOWN)
    return found if isinstance(found, Visitor) else STRANGER


def send_to_sign_in(app: FastAPI) -> None:
    """Answer `SignInFirst` by the way to the sign-in page and back."""

    @app.exception_handler(SignInFirst)
    def to_sign_in(request: Request, error: SignInFirst) -> RedirectResponse:
        return RedirectResponse(f"{SIGN_IN}?next={quote(error.wanted, safe='')}", status_code=303)
