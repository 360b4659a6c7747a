"""What a request is answered with: the registry, and who asks."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import Depends, Header, Path, Request

from dashboard.attempts import Attempts
from dashboard.forms import CSRF_HEADER, refuse_foreign, refuse_stale
from dashboard.proxy import NO_PROXY, Proxy
from lori_core.names import check_name
from registry import sign_ins
from registry.accounts import Accounts, TokenRefused, accounts_exist, actor_of, is_printed, owner
from registry.decisions import Actor
from registry.desk import Desk
from registry.plain import LARGEST
from registry.queueing import Queue
from registry.roles import allow
from registry.row_rights import RowRights, SeenRows, seen_by
from registry.sign_ins import SignIn
from registry.store import Registry
from registry.webhooks import Webhooks

ANYONE = Actor(name="anyone", role="viewer", account=False)
"""Who reads without a token, which only a server without accounts allows (it listens on loopback)."""

COOKIE = "lori_session"

Way = Literal["nobody", "token", "password", "printed token", "proxy"]
"""How it is known who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    actor: Actor
    way: Way
    sign_in: SignIn | None = None
    """Where a browser asks, which could be made to ask by a page elsewhere."""

    @property
    def owns_files(self) -> bool:
        """Whether he is the OS user of the embedded default."""
        return self.way != "nobody" and not self.actor.account


NOBODY = Caller(actor=ANYONE, way="nobody")


@dataclass(frozen=True, slots=True)
class Office:
    """What the app holds for all requests."""

    registry: Registry

    token: str | None
    """The token printed at start: its bearer is the OS user, until the first account is made. None:
    nobody without an account is let in."""

    proxy: Proxy = NO_PROXY
    """Who is believed about who comes."""

    attempts: Attempts = field(default_factory=Attempts)
    """How often passwords were tried."""

    def caller(self, request: Request, secret: str | None, *, knows_people: bool) -> Caller:
        """Who asks: by a token, a trusted proxy's word, or the cookie of a sign-in; else nobody.

        Args:
            request: what was asked.
            secret: the bearer's token.
            knows_people: see `knows_people`, which asks the store.

        Raises:
            TokenRefused: a token we do not take.
            BadInput, CheckFailed: a proxy names somebody who is nobody here.
        """
        printed = None if knows_people else self.token
        if secret is not None:
            return Caller(actor=self._bearer(secret, printed), way="token")
        if (actor := self.proxy.actor(request)) is not None:
            found = sign_ins.proxied_in(self.registry, actor)
            return Caller(actor=actor, way="proxy", sign_in=found)
        held = "" if _twice(request) else request.cookies.get(COOKIE, "")
        signed = sign_ins.signed_in(self.registry, held, printed_token=printed)
        if signed is None:
            return NOBODY
        way: Way = "password" if signed.actor.account else "printed token"
        return Caller(actor=signed.actor, way=way, sign_in=signed)

    def knows_people(self) -> bool:
        """Whether who asks must be somebody, even to read."""
        return self.token is None or self.proxy.knows_people or accounts_exist(self.registry)

    def _bearer(self, secret: str, printed: str | None) -> Actor:
        if printed is None:
            return actor_of(self.registry, secret)
        if not is_printed(secret, printed):
            raise TokenRefused("not the one printed at start")
        return owner()


def _twice(request: Request) -> bool:
    """Whether it holds our cookie more than once: one was planted, and nobody knows which."""
    sent = ";".join(request.headers.getlist("cookie")).split(";")
    return sum(each.partition("=")[0].strip() == COOKIE for each in sent) > 1


def _office(request: Request) -> Office:
    found = request.app.state.office
    assert isinstance(found, Office)
    return found


def _secret(authorization: Annotated[str | None, Header()] = None) -> str | None:
    if authorization is None:
        return None
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise TokenRefused("not sent as `Authorization: Bearer TOKEN`")
    return secret


TheOffice = Annotated[Office, Depends(_office)]
Secret = Annotated[str | None, Depends(_secret)]


def _reading_caller(request: Request, office: TheOffice, secret: Secret) -> Caller:
    knows_people = office.knows_people()
    caller = office.caller(request, secret, knows_people=knows_people)
    if caller.way == "nobody" and knows_people:
        raise TokenRefused("none was sent")
    allow(caller.actor, "read")
    return caller


def _writer(request: Request, office: TheOffice, secret: Secret) -> Actor:
    caller = office.caller(request, secret, knows_people=office.knows_people())
    if caller.way == "nobody":
        raise TokenRefused("none was sent")
    if caller.sign_in is not None:
        refuse_foreign(request)
        refuse_stale(request.headers.get(CSRF_HEADER, ""), caller.sign_in.csrf)
    return caller.actor


ReadingCaller = Annotated[Caller, Depends(_reading_caller)]


async def _reader(caller: ReadingCaller) -> Actor:
    return caller.actor


Reader = Annotated[Actor, Depends(_reader)]
Writer = Annotated[Actor, Depends(_writer)]


def _rows(office: TheOffice, caller: ReadingCaller) -> SeenRows:
    return seen_by(office.registry, caller.actor, owner=caller.owns_files)


ReadingRows = Annotated[SeenRows, Depends(_rows)]
"""Whose prompts and answers who asks may see: `rows.insist(sequence, task)`."""


def _reading_row_rights(office: TheOffice, actor: Reader) -> RowRights:
    return RowRights(office.registry, actor)


def _writing_row_rights(office: TheOffice, actor: Writer) -> RowRights:
    return RowRights(office.registry, actor)


ReadingRowRights = Annotated[RowRights, Depends(_reading_row_rights)]
WritingRowRights = Annotated[RowRights, Depends(_writing_row_rights)]


def _registry(office: TheOffice, actor: Reader) -> Registry:
    return office.registry


def _reading_desk(office: TheOffice, actor: Reader) -> Desk:
    return Desk(office.registry, actor)


def _writing_desk(office: TheOffice, actor: Writer) -> Desk:
    return Desk(office.registry, actor)


def _reading_accounts(office: TheOffice, actor: Reader) -> Accounts:
    return Accounts(office.registry, actor)


def _writing_accounts(office: TheOffice, actor: Writer) -> Accounts:
    return Accounts(office.registry, actor)


def _reading_webhooks(office: TheOffice, actor: Reader) -> Webhooks:
    return Webhooks(office.registry, actor)


def _writing_webhooks(office: TheOffice, actor: Writer) -> Webhooks:
    return Webhooks(office.registry, actor)


def _reading_queue(office: TheOffice, actor: Reader) -> Queue:
    return Queue(office.registry, actor)


def _writing_queue(office: TheOffice, actor: Writer) -> Queue:
    return Queue(office.registry, actor)


Readable = Annotated[Registry, Depends(_registry)]
"""The registry, for who may read."""
ReadingDesk = Annotated[Desk, Depends(_reading_desk)]
WritingDesk = Annotated[Desk, Depends(_writing_desk)]
ReadingAccounts = Annotated[Accounts, Depends(_reading_accounts)]
WritingAccounts = Annotated[Accounts, Depends(_writing_accounts)]
ReadingWebhooks = Annotated[Webhooks, Depends(_reading_webhooks)]
WritingWebhooks = Annotated[Webhooks, Depends(_writing_webhooks)]
ReadingQueue = Annotated[Queue, Depends(_reading_queue)]
WritingQueue = Annotated[Queue, Depends(_writing_queue)]


def _known_sequence(sequence: str, office: TheOffice, actor: Reader) -> str:
    return office.registry.sequence(check_name("sequence", sequence)).name


KnownSequence = Annotated[str, Depends(_known_sequence)]
"""The name of a sequence that exists; who asks is known before he learns whether it does."""

VersionNumber = Annotated[int, Path(ge=0, le=LARGEST)]
RowNumber = Annotated[int, Path(ge=1, le=LARGEST)]
