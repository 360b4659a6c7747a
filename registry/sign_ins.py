"""Who is signed in at a browser: 32 random bytes in its cookie, their sha256 here.

A sign-in is new each time (nobody can hand one to somebody else beforehand), is over after half a day of
silence or a week in all, and ends at once by signing out, when the account is disabled, and when its
password changes. Whom a trusted proxy vouches for has no cookie of ours: his row holds what his forms
send back.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from registry import passwords
from registry.access_models import SignInRow
from registry.accounts import acting, owner
from registry.clock import now
from registry.decision_models import AccountRow
from registry.decisions import Actor
from registry.store import Registry

IDLE = timedelta(hours=12)
LONGEST = timedelta(days=7)
SEEN_EVERY = timedelta(minutes=10)
"""How exactly it is known when somebody was last there: a write for each page would be too many."""
KEPT = timedelta(days=30)
"""How long a sign-in that is over stays listed."""
_SECRET_BYTES = 32
_LONGEST_SECRET = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A sign-in that lasts."""

    id: int
    actor: Actor
    csrf: str
    """What the forms of its pages send back."""
    unseen_long: bool
    """Whether it should be written down that he was here (`note_seen`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A new sign-in, with what the browser holds: the only time that is shown."""

    sign_in: SignIn
    secret: str


def with_password(registry: Registry, name: str, password: str) -> Begun | None:
    """Sign an account in; None if the name, the password or both are not right, or it is disabled.

    It takes the same time whether there is such an account or not.
    """
    with registry._database.reading() as session:
        found = session.scalar(select(AccountRow).where(AccountRow.name == name))
        kept = None if found is None or found.disabled else found.password_hash
    if not passwords.matches(kept, password):
        return None
    with registry._database.writing() as session:
        row = session.scalar(select(AccountRow).where(AccountRow.name == name))
        if row is None or row.disabled or row.password_hash != kept:
            return None  # changed while we looked at it
        return _begin(session, SignInRow(account=row))


def with_printed_token(registry: Registry, token: str) -> Begun:
    """Sign the OS user in, who entered the token printed at start (that is checked by who printed it)."""
    with registry._database.writing() as session:
        return _begin(session, SignInRow(person=owner().name, token_sha256=_digest(token)))


def signed_in(registry: Registry, secret: str, *, printed_token: str | None) -> SignIn | None:
    """Whose cookie this is; None for nobody's, or nobody's any more.

    Args:
        registry: where people sign in.
        secret: what the browser sent.
        printed_token: the token the OS user signs in with now; None: he does not.
    """
    if not 0 < len(secret) <= _LONGEST_SECRET:
        return None
    with registry._database.reading() as session:
        found = session.scalar(
            select(SignInRow).where(SignInRow.sha256 == _digest(secret), *_lasting())
        )
        if found is None:
            return None
        if found.account is None:
            valid = printed_token is not None and found.token_sha256 == _digest(printed_token)
            return _record(found, owner()) if valid else None
        return (
            None
            if found.account.disabled
            else _record(found, acting(session, found.account, found.account.password_by))
        )


def proxied_in(registry: Registry, actor: Actor) -> SignIn:
    """The sign-in of somebody a trusted proxy vouches for; made when he comes for the first time."""
    mine = (SignInRow.person == actor.name, SignInRow.sha256.is_(None), *_lasting())
    wanted = select(SignInRow).where(*mine).order_by(SignInRow.id).limit(1)
    with registry._database.reading() as session:
        if found := session.scalar(wanted):
            return _record(found, actor)
    with registry._database.writing() as session:
        found = session.scalar(wanted)  # another request of his may have been first
        if found is None:
            found = _add(session, SignInRow(person=actor.name))
        return _record(found, actor)


def note_seen(registry: Registry, sign_in: int) -> None:
    """Write down that somebody was here just now."""
    with registry._database.writing() as session:
        session.execute(
            update(SignInRow)
            .where(SignInRow.id == sign_in, SignInRow.ended.is_(None))
            .values(last_seen=now())
        )


def sign_out(registry: Registry, sign_in: int) -> None:
    """End a sign-in."""
    with registry._database.writing() as session:
        session.execute(
            update(SignInRow)
            .where(SignInRow.id == sign_in, SignInRow.ended.is_(None))
            .values(ended=now())
        )


def _begin(session: Session, row: SignInRow) -> Begun:
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    row.sha256 = _digest(secret)
    _add(session, row)
    account = row.account
    actor = owner() if account is None else acting(session, account, account.password_by)
    return Begun(sign_in=_record(row, actor), secret=secret)


def _add(session: Session, row: SignInRow) -> SignInRow:
    began = now()
    session.execute(delete(SignInRow).where(SignInRow.expires < began - KEPT))
    row.csrf = secrets.token_urlsafe(_SECRET_BYTES)
    row.created = row.last_seen = began
    row.expires = began + LONGEST
    session.add(row)
    session.flush()
    return row


def _lasting() -> tuple[ColumnElement[bool], ...]:
    current = now()
    return (
        SignInRow.ended.is_(None),
        SignInRow.expires > current,
        SignInRow.last_seen > current - IDLE,
    )


def _record(row: SignInRow, actor: Actor) -> SignIn:
    seen: datetime = row.last_seen
    return SignIn(id=row.id, actor=actor, csrf=row.csrf, unseen_long=seen < now() - SEEN_EVERY)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
