"""Accounts and their tokens: who acts, told by what he holds.

A token is `lori_` and 32 random bytes; it is shown once, when it is made, and only its sha256 is
kept. An account is never deleted, because the log names it: it is disabled, and its tokens with it.

The OS user of the embedded default is owner with every role. His name in the log is `os:NAME`, which
no account can have, and he is never the second person: whoever may write the registry's file could
make himself any number of accounts, so there his word counts once.
"""

import hashlib
import hmac
import os
import pwd
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from lori_core.errors import BadInput, CheckFailed, NotFound
from lori_core.names import check_name
from registry import passwords
from registry.access_models import SignInRow
from registry.clock import now
from registry.decision_models import AccountRow, TokenRow
from registry.decisions import Account, Actor, Role
from registry.people import OWNER
from registry.plain import LARGEST, aware_time, plain_text
from registry.roles import ROLES, allow
from registry.store import Registry
from registry.vouching import givers_of, vouchers

TOKEN_VARIABLE = "LORI_TOKEN"
PREFIX = "lori_"
_SECRET_BYTES = 32
_LONGEST_TOKEN = 128


class TokenRefused(BadInput):
    """A token that is no live token of an account. Never holds the token."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"token ({why})", "a live token of an account", f"Set {TOKEN_VARIABLE} to one."
        )
        self.args = (why,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it may be shown."""

    id: int
    account: str
    label: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    made_by: str | None = None
    """Who made it; None where that was not written down yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new token, with its secret: the only time that is shown."""

    token: Token
    secret: str


def new_secret() -> str:
    """A fresh token's text."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def is_printed(secret: str, printed: str) -> bool:
    """Whether this is the token that was printed at start; how long it takes says nothing."""
    return hmac.compare_digest(
        secret.encode("utf-8", "surrogatepass"), printed.encode("utf-8", "surrogatepass")
    )


def owner() -> Actor:
    """The OS user, on the embedded default."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name  # not getpass: that believes the environment
    except KeyError:  # a container's user without a name
        name = str(os.getuid())
    return Actor(name=f"{OWNER}{name}", role="admin", account=False)


def actor_of(registry: Registry, secret: str) -> Actor:
    """The account behind a token.

    Raises:
        TokenRefused: unknown, expired or revoked, or its account is disabled.
    """
    if not secret.startswith(PREFIX) or len(secret) > _LONGEST_TOKEN:
        raise TokenRefused("not one of a registry")
    with registry._database.reading() as session:
        found = session.scalar(select(TokenRow).where(TokenRow.sha256 == _digest(secret)))
        if found is None:
            raise TokenRefused("unknown")
        if found.revoked is not None:
            raise TokenRefused("revoked")
        if found.expires is not None and found.expires <= now():
            raise TokenRefused("expired")
        if found.account.disabled:
            raise TokenRefused("its account is disabled")
        return acting(session, found.account, found.made_by)


def acting(session: Session, account: AccountRow, given_by: str | None) -> Actor:
    """An account, in the hands of whoever holds what `given_by` gave: a token, or its password."""
    name: str = account.name
    by = vouchers(givers_of(session), name, (account.made_by, given_by))
    return Actor(name=name, role=cast(Role, account.role), account=True, vouched_by=by)


def admin_exists(registry: Registry) -> bool:
    """Whether an admin's account is in use: where none is, nobody could make one."""
    with registry._database.reading() as session:
        live = select(AccountRow.id).where(AccountRow.role == "admin", ~AccountRow.disabled)
        return session.scalar(live.limit(1)) is not None


def accounts_exist(registry: Registry) -> bool:
    """Whether any account was ever made: from then on, who has none is nobody."""
    with registry._database.reading() as session:
        return session.scalar(select(AccountRow.id).limit(1)) is not None


def role_of(registry: Registry, name: str) -> Role | None:
    """The role of an account that is in use; None for a name that is none's."""
    with registry._database.reading() as session:
        found = _find(session, name)
        return None if found is None or found.disabled else cast(Role, found.role)


class Accounts:
    """The accounts of a registry, in the hands of one actor; every method is an admin's."""

    def __init__(self, registry: Registry, actor: Actor) -> None:
        self._database = registry._database
        self.actor = actor

    def accounts(self) -> tuple[Account, ...]:
        """Every account, by name, disabled ones too."""
        allow(self.actor, "accounts")
        with self._database.reading() as session:
            return tuple(
                _account(row)
                for row in session.scalars(select(AccountRow).order_by(AccountRow.name))
            )

    def create(self, name: str, role: Role) -> Account:
        """Make an account.

        Raises:
            BadInput: a name that is none, or no role.
            CheckFailed: the name is taken.
        """
        allow(self.actor, "accounts")
        check_name("account", name)
        _check_role(role)
        with self._database.writing() as session:
            if _find(session, name) is not None:
                raise CheckFailed("account", f"{name} is taken")
            row = AccountRow(
                name=name,
                role=role,
                password_hash=None,
                password_by=None,
                disabled=False,
                created=now(),
                made_by=self.actor.name,
            )
            session.add(row)
            return _account(row)

    def change_role(self, name: str, role: Role) -> Account:
        """Give an account another role.

        Raises:
            CheckFailed: it is the last admin's.
        """
        allow(self.actor, "accounts")
        _check_role(role)
        with self._database.writing() as session:
            row = _known(session, name)
            if role != "admin":
                _keep_an_admin(session, row)
            row.role = role
            return _account(row)

    def disable(self, name: str) -> Account:
        """Shut an account out, with all its tokens; who is signed in by it is no more.

        Raises:
            CheckFailed: it is the last admin's.
        """
        allow(self.actor, "accounts")
        with self._database.writing() as session:
            row = _known(session, name)
            _keep_an_admin(session, row)
            row.disabled = True
            _sign_out(session, row)
            return _account(row)

    def enable(self, name: str) -> Account:
        """Let an account in again."""
        allow(self.actor, "accounts")
        with self._database.writing() as session:
            row = _known(session, name)
            row.disabled = False
            return _account(row)

    def set_password(self, name: str, password: str, current: str | None = None) -> Account:
        """Give an account a password to sign in at the pages with: an admin to any, everybody to his own.

        The first one is an admin's to set: a token that ends, or that another holds too, must not
        become a way in that lasts. Who is signed in by the old one is no more. Who set it knows it,
        and so is no second person to this account; who changes his own by what another gave him could
        be that other, who stays written then.

        Args:
            name: whose.
            password: the new one.
            current: the one until now, where it is one's own.

        Raises:
            BadInput: it is too short or too long.
            CheckFailed: the current one is not right.
        """
        passwords.check_password(password)
        own = self.actor.account and self.actor.name == name
        with self._database.reading() as session:
            before = _known(session, name).password_hash if own else None
        if before is None:
            allow(self.actor, "accounts")
        elif current is None or not passwords.matches(before, current):
            raise CheckFailed("password", "to change your own takes the current one")
        kept = passwords.hashed(password)
        with self._database.writing() as session:
            row = _known(session, name)
            if own and row.password_hash != before:
                raise CheckFailed("password", "it was changed just now")
            row.password_by = self._knows(session, row) if own else self.actor.name
            row.password_hash = kept
            _sign_out(session, row)
            return _account(row)

    def _knows(self, session: Session, row: AccountRow) -> str:
        """Who may know the password that an account sets itself: it, or who gave it what it acts by."""
        made = vouchers(givers_of(session), row.name, (row.made_by,))
        return next((each for each in self.actor.vouched_by if each not in made), row.name)

    def tokens(self, name: str) -> tuple[Token, ...]:
        """Every token of an account, oldest first."""
        allow(self.actor, "accounts")
        with self._database.reading() as session:
            return tuple(_token(row) for row in _known(session, name).tokens)

    def issue(self, name: str, label: str, expires: datetime | None = None) -> Issued:
        """Make a token for an account. Its secret is not kept: show it, or it is lost."""
        allow(self.actor, "accounts")
        label = plain_text("label", label, longest=128)
        if expires is not None and aware_time("expiry", expires) <= now():
            raise BadInput(f"expiry {expires.isoformat()}", "a time to come")
        secret = new_secret()
        with self._database.writing() as session:
            row = TokenRow(
                account=_known(session, name),
                sha256=_digest(secret),
                label=label,
                created=now(),
                expires=expires,
                revoked=None,
                made_by=self.actor.name,
            )
            session.add(row)
            session.flush()
            return Issued(token=_token(row), secret=secret)

    def revoke(self, token: int) -> Token:
        """End a token; a second time changes nothing.

        Raises:
            NotFound: there is none with this id.
        """
        allow(self.actor, "accounts")
        with self._database.writing() as session:
            row = session.get(TokenRow, token) if 0 < token <= LARGEST else None
            if row is None:
                raise NotFound("token", "the id of a token", "The tokens of an account are listed.")
            if row.revoked is None:
                row.revoked = now()
            return _token(row)


def _sign_out(session: Session, row: AccountRow) -> None:
    session.execute(
        update(SignInRow)
        .where(SignInRow.account_id == row.id, SignInRow.ended.is_(None))
        .values(ended=now())
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise BadInput(f"role {role!r}", f"one of {', '.join(ROLES)}")


def _find(session: Session, name: str) -> AccountRow | None:
    return session.scalar(select(AccountRow).where(AccountRow.name == name))


def _known(session: Session, name: str) -> AccountRow:
    check_name("account", name)
    row = _find(session, name)
    if row is None:
        raise NotFound(f"account {name!r}", "an account of this registry")
    return row


def _keep_an_admin(session: Session, row: AccountRow) -> None:
    others = session.scalar(
        select(func.count())
        .select_from(AccountRow)
        .where(AccountRow.role == "admin", ~AccountRow.disabled, AccountRow.id != row.id)
    )
    if row.role == "admin" and not row.disabled and not others:
        raise CheckFailed("account", f"{row.name} is the last admin")


def _account(row: AccountRow) -> Account:
    return Account(
        name=row.name,
        role=cast(Role, row.role),
        created=row.created,
        disabled=row.disabled,
        made_by=row.made_by,
        password_by=row.password_by,
    )


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        account=row.account.name,
        label=row.label,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        made_by=row.made_by,
    )
