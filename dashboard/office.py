"""What a request is answered with: the registry, and who asks."""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from lori_core.names import check_name
from registry.accounts import Accounts, TokenRefused, accounts_exist, actor_of, owner
from registry.decisions import Actor
from registry.desk import Desk
from registry.plain import LARGEST
from registry.queueing import Queue
from registry.roles import allow
from registry.store import Registry
from registry.webhooks import Webhooks

ANYONE = Actor(name="anyone", role="viewer", account=False)
"""Who reads without a token, which only a server without accounts allows (it listens on loopback)."""


@dataclass(frozen=True, slots=True)
class Office:
    """What the app holds for all requests."""

    registry: Registry

    token: str | None
    """The token printed at start: its bearer is the OS user, until the first account is made. None:
    nobody without an account is let in."""

    def reader(self, secret: str | None) -> Actor:
        """Who reads. Raises TokenRefused for nobody we know."""
        if secret is None and self._open:
            return ANYONE
        return self.writer(secret)

    def writer(self, secret: str | None) -> Actor:
        """Who writes. Raises TokenRefused for nobody we know."""
        if secret is None:
            raise TokenRefused("none was sent")
        if not self._open:
            return actor_of(self.registry, secret)
        if self.token is None or not hmac.compare_digest(secret.encode(), self.token.encode()):
            raise TokenRefused("not the one printed at start")
        return owner()

    @property
    def _open(self) -> bool:
        return self.token is not None and not accounts_exist(self.registry)


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


def _reader(office: TheOffice, secret: Secret) -> Actor:
    actor = office.reader(secret)
    allow(actor, "read")
    return actor


def _writer(office: TheOffice, secret: Secret) -> Actor:
    return office.writer(secret)


Reader = Annotated[Actor, Depends(_reader)]
Writer = Annotated[Actor, Depends(_writer)]


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
