"""Webhooks: who is told of decisions. A message is written with the change it tells of, so none is lost.

Each message reaches each webhook at least once: it is sent until the other side answers 2xx, at
growing intervals, and the id in its header lets a receiver drop what it has had. The body is signed:
`X-Lori-Signature: v1,<hex>` is the HMAC-SHA256 of `delivery.timestamp.body` under the webhook's secret.
"""

import hashlib
import hmac
import json
import secrets as random
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from http.client import HTTPException
from typing import IO, get_args
from urllib.parse import urlsplit

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session, joinedload

from lori_core.digests import canonical_json
from lori_core.errors import BadInput, NotFound
from lori_core.names import check_name
from registry import models
from registry.clock import now as read_clock
from registry.decision_models import DeliveryRow, OutboxRow, WebhookRow
from registry.decisions import EventKind
from registry.records import Json
from registry.store import Registry
from registry.waits import doubled

ARRIVAL_FAILED, ARRIVAL_STUCK, GATE_REFUSED = "arrival-failed", "arrival-stuck", "gate-refused"

KINDS: tuple[str, ...] = (*get_args(EventKind), ARRIVAL_FAILED, ARRIVAL_STUCK, GATE_REFUSED)
"""What can be told: the kinds of the log's entries, and what became of arrivals and of judgements."""

SIGNATURE_HEADER = "X-Lori-Signature"
DELIVERY_HEADER = "X-Lori-Delivery"
TIMESTAMP_HEADER = "X-Lori-Timestamp"

FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=6)
SECONDS = 10
"""How long a receiver may take to answer."""

BATCH = 100

Post = Callable[[str, bytes, Mapping[str, str]], int]
"""URL, body, headers -> HTTP status; raises OSError where nobody answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Whom to tell of which kinds. The secret is shown once, when the webhook is made."""

    name: str
    url: str
    kinds: tuple[str, ...]
    """Empty: every kind."""
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """A webhook just made, with the secret that signs what it is sent."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one webhook, and how the last attempt went."""

    id: int
    webhook: str
    kind: str
    attempts: int
    delivered: datetime | None
    next_attempt: datetime
    last_error: str | None


def add(
    registry: Registry,
    name: str,
    url: str,
    *,
    kinds: Sequence[str] = (),
    secret: str | None = None,
) -> NewWebhook:
    """Tell a URL of decisions from now on; a known name gets the new URL, kinds and secret.

    Args:
        registry: where it is kept.
        name: how it is listed and removed.
        url: where to POST; http or https.
        kinds: kinds of log entries it wants; none means every kind.
        secret: signs what is sent; None makes one.

    Raises:
        BadInput: a name, URL, kind or secret that is none.
    """
    check_name("webhook", name)
    check_url(url)
    for kind in kinds:
        if kind not in KINDS:
            raise BadInput(f"kind {kind!r}", f"one of {', '.join(KINDS)}")
    if secret is not None and not 16 <= len(secret) <= 256:
        raise BadInput(
            "the secret of a webhook", "16 to 256 characters", "Leave it out: one is made."
        )
    secret = secret or random.token_urlsafe(32)
    with registry._database.writing() as session:
        row = _find(session, name)
        if row is None:
            row = WebhookRow(name=name, created=read_clock())
            session.add(row)
        row.url, row.secret, row.kinds, row.active = url, secret, list(kinds), True
        session.flush()
        return NewWebhook(webhook=_webhook(row), secret=secret)


def webhooks(registry: Registry) -> tuple[Webhook, ...]:
    """Every webhook that is told, by name."""
    with registry._database.reading() as session:
        rows = session.scalars(
            select(WebhookRow).where(WebhookRow.active).order_by(WebhookRow.name)
        )
        return tuple(_webhook(row) for row in rows)


def remove(registry: Registry, name: str) -> None:
    """Tell a webhook nothing more, not even what still waits.

    Raises:
        NotFound: there is none of this name.
    """
    check_name("webhook", name)
    with registry._database.writing() as session:
        row = _find(session, name)
        if row is None or not row.active:
            raise NotFound(
                "this webhook", "the name of a webhook", "`lori webhooks list` lists them."
            )
        row.active = False


def enqueue(session: Session, sequence: models.Sequence | None, kind: str, payload: Json) -> None:
    """Write a message for every webhook that wants its kind, in the caller's transaction."""
    told = [
        row
        for row in session.scalars(select(WebhookRow).where(WebhookRow.active))
        if not row.kinds or kind in row.kinds
    ]
    moment = read_clock()
    row = OutboxRow(
        sequence_id=None if sequence is None else sequence.id,
        kind=kind,
        payload=json.loads(canonical_json(payload)),
        created=moment,
    )
    session.add(row)
    session.flush()
    session.add_all(
        DeliveryRow(
            outbox_id=row.id,
            webhook_id=webhook.id,
            attempts=0,
            next_attempt=moment,
            delivered=None,
            last_error=None,
        )
        for webhook in told
    )


def deliver(
    registry: Registry,
    now: datetime | None = None,
    post: Post | None = None,
    *,
    leaving: Callable[[], bool] = lambda: False,
) -> tuple[Delivery, ...]:
    """Send what is due, each message to each webhook once; say how each attempt went.

    A webhook that did not take one message is sent no other until that one is due again, so that it
    holds nobody else up. Only one process delivers at a time; one that dies after sending and before
    it could write that down sends again. Call it again until nothing is due: it takes a bounded batch.

    Args:
        registry: what holds the messages.
        now: what time it is; None looks.
        post: sends one message; None is `post_by_http`.
        leaving: asked before each message: True ends the batch there.
    """
    moment, send = now or read_clock(), post or post_by_http
    with registry._database.exclusive("deliver"):
        with registry._database.reading() as session:
            due = session.scalars(_due(moment)).all()
        attempts, down = [], set()
        for row in due:
            if leaving():
                break
            if row.webhook_id in down:
                continue
            error = _attempt(row, moment, send)
            if error is not None:
                down.add(row.webhook_id)
            attempts.append(_record(registry, row.id, moment, error))
    return tuple(attempts)


def undelivered(registry: Registry) -> tuple[Delivery, ...]:
    """What waits to be delivered, the soonest first."""
    with registry._database.reading() as session:
        rows = session.scalars(_waiting().order_by(DeliveryRow.next_attempt, DeliveryRow.id))
        return tuple(_delivery(row) for row in rows)


def signature(secret: str, delivery: int, timestamp: int, body: bytes) -> str:
    """The value of the signature header; a receiver computes it again and compares."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def post_by_http(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """POST to a webhook; follows no redirect."""
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with _OPENER.open(request, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except HTTPException as broken:
        raise OSError(f"no HTTP answer ({type(broken).__name__})") from broken


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """A signed message goes where it was addressed, or nowhere."""
        return


_OPENER = urllib.request.build_opener(_NoRedirect)


def _attempt(row: DeliveryRow, moment: datetime, send: Post) -> str | None:
    """Send one message; why it did not arrive, or None."""
    timestamp = int(moment.timestamp())
    body = canonical_json(
        {
            "id": row.id,
            "kind": row.outbox.kind,
            "created": row.outbox.created.isoformat(),
            "data": row.outbox.payload,
        }
    ).encode("ascii")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "lori-pipeline",
        DELIVERY_HEADER: str(row.id),
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: signature(row.webhook.secret, row.id, timestamp, body),
    }
    try:
        status = send(row.webhook.url, body, headers)
    except (OSError, UnicodeError) as error:  # URLError, timeouts; a host that cannot be encoded
        return " ".join(str(error).split())[:300] or type(error).__name__
    return None if 200 <= status < 300 else f"answered {status}"


def _record(registry: Registry, delivery: int, moment: datetime, error: str | None) -> Delivery:
    with registry._database.writing() as session:
        row = session.scalars(select(DeliveryRow).where(DeliveryRow.id == delivery)).one()
        row.attempts += 1
        row.last_error = error
        if error is None:
            row.delivered = moment
        else:
            row.next_attempt = moment + wait_after(row.attempts)
            session.execute(  # what waits behind it would fill the next batch, and starve the others
                update(DeliveryRow)
                .where(
                    DeliveryRow.webhook_id == row.webhook_id,
                    DeliveryRow.delivered.is_(None),
                    DeliveryRow.next_attempt < row.next_attempt,
                )
                .values(next_attempt=row.next_attempt)
            )
        session.flush()
        return _delivery(row)


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to `LONGEST_WAIT`."""
    return doubled(FIRST_WAIT, LONGEST_WAIT, attempts)


def _due(moment: datetime) -> Select[tuple[DeliveryRow]]:
    return (
        _waiting()
        .where(DeliveryRow.next_attempt <= moment)
        .order_by(DeliveryRow.next_attempt, DeliveryRow.id)
        .limit(BATCH)
    )


def _waiting() -> Select[tuple[DeliveryRow]]:
    return (
        select(DeliveryRow)
        .join(DeliveryRow.webhook)
        .where(DeliveryRow.delivered.is_(None), WebhookRow.active)
        .options(joinedload(DeliveryRow.outbox), joinedload(DeliveryRow.webhook))
    )


def check_url(url: str) -> None:
    """Raise BadInput for what is no http or https URL."""
    remedy = "https://example.org/hooks/lori"
    if len(url) > 2048 or not url.isprintable() or " " in url:
        raise BadInput("the URL of a webhook", "at most 2048 printable characters", remedy)
    if not url.isascii():
        raise BadInput(
            "the URL of a webhook", "ASCII: the host in punycode, the rest percent-encoded", remedy
        )
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  reading it checks it
        (parts.hostname or "").encode("idna")  # as the socket will: no label empty or too long
    except ValueError as error:  # UnicodeError is one
        raise BadInput(f"URL {url!r} ({error})", "an http or https URL", remedy) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput(f"URL {url!r}", "an http or https URL", remedy)


def _find(session: Session, name: str) -> WebhookRow | None:
    return session.scalar(select(WebhookRow).where(WebhookRow.name == name))


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook(name=row.name, url=row.url, kinds=tuple(row.kinds), created=row.created)


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        webhook=row.webhook.name,
        kind=row.outbox.kind,
        attempts=row.attempts,
        delivered=row.delivered,
        next_attempt=row.next_attempt,
        last_error=row.last_error,
    )
