"""Who acts, and who is told: accounts, tokens, webhooks."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from dashboard.attempts import address_key, name_key
from dashboard.bodies import AccountBody, Name, PasswordBody, RoleBody, TokenBody, WebhookBody
from dashboard.office import (
    Reader,
    ReadingAccounts,
    ReadingWebhooks,
    RowNumber,
    TheOffice,
    WritingAccounts,
    WritingWebhooks,
)
from lori_core.errors import CheckFailed
from registry.accounts import Issued, Token
from registry.decisions import Account, Actor
from registry.outbox import Delivery, NewWebhook, Webhook

router = APIRouter(prefix="/api", tags=["accounts"])

Named = Annotated[Name, Path()]


@router.get("/me")
def me(actor: Reader) -> Actor:
    """Who the token says you are."""
    return actor


@router.get("/accounts")
def accounts(book: ReadingAccounts) -> tuple[Account, ...]:
    """Every account."""
    return book.accounts()


@router.post("/accounts")
def create(book: WritingAccounts, body: AccountBody) -> Account:
    """Make an account; the first one ends the time of the token printed at start."""
    return book.create(body.name, body.role)


@router.put("/accounts/{name}/role")
def change_role(book: WritingAccounts, name: Named, body: RoleBody) -> Account:
    """Give an account another role."""
    return book.change_role(name, body.role)


@router.put("/accounts/{name}/password")
def set_password(
    request: Request, office: TheOffice, book: WritingAccounts, name: Named, body: PasswordBody
) -> Account:
    """Set the password to sign in at the pages with; an admin anybody's, everybody his own."""
    if name != book.actor.name or body.current is None:
        return book.set_password(name, body.password)
    keys = (address_key(office.proxy.address(request)), name_key(name))
    if office.attempts.take(*keys):
        raise CheckFailed("password", "too many tries; wait five minutes")
    made = book.set_password(name, body.password, body.current)
    office.attempts.forget_one(*keys)
    return made


@router.post("/accounts/{name}/disable")
def disable(book: WritingAccounts, name: Named) -> Account:
    """Shut an account out, with its tokens."""
    return book.disable(name)


@router.post("/accounts/{name}/enable")
def enable(book: WritingAccounts, name: Named) -> Account:
    """Let an account in again."""
    return book.enable(name)


@router.get("/accounts/{name}/tokens")
def tokens(book: ReadingAccounts, name: Named) -> tuple[Token, ...]:
    """Every token of an account."""
    return book.tokens(name)


@router.post("/accounts/{name}/tokens")
def issue(book: WritingAccounts, name: Named, body: TokenBody) -> Issued:
    """Make a token; its secret is in this answer and nowhere else."""
    return book.issue(name, body.label, body.expires)


@router.delete("/tokens/{token}")
def revoke(book: WritingAccounts, token: RowNumber) -> Token:
    """End a token."""
    return book.revoke(token)


@router.get("/webhooks")
def webhooks(book: ReadingWebhooks) -> tuple[Webhook, ...]:
    """Every webhook that is told."""
    return book.webhooks()


@router.get("/webhooks/undelivered")
def undelivered(book: ReadingWebhooks) -> tuple[Delivery, ...]:
    """What waits to be delivered."""
    return book.undelivered()


@router.post("/webhooks")
def add_webhook(book: WritingWebhooks, body: WebhookBody) -> NewWebhook:
    """Tell a URL of decisions; the secret that signs is in this answer and nowhere else."""
    return book.add_webhook(body.name, body.url, kinds=body.kinds, secret=body.secret)


@router.delete("/webhooks/{name}")
def remove_webhook(book: WritingWebhooks, name: Named) -> dict[str, str]:
    """Tell a webhook nothing more."""
    book.remove_webhook(name)
    return {"removed": name}
