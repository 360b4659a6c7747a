import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from lori_core.errors import BadInput, CheckFailed, NotFound
from registry.accounts import (
    Accounts,
    TokenRefused,
    accounts_exist,
    actor_of,
    new_secret,
    owner,
)
from registry.clock import now
from registry.decision_models import TokenRow
from registry.decisions import Actor
from registry.store import Registry


@pytest.fixture
def book(registry: Registry) -> Accounts:
    return Accounts(registry, owner())


def test_a_token_says_who_acts_with_which_role(registry: Registry, book: Accounts) -> None:
    assert not accounts_exist(registry)
    book.create("ann", "reviewer")
    issued = book.issue("ann", "laptop")
    assert accounts_exist(registry)
    assert actor_of(registry, issued.secret) == Actor(
        name="ann", role="reviewer", account=True, vouched_by=(owner().name,)
    )
    book.change_role("ann", "promoter")
    assert actor_of(registry, issued.secret).role == "promoter"


def test_who_made_an_account_and_who_made_the_token_both_vouch_for_who_acts(
    registry: Registry, book: Accounts
) -> None:
    book.create("ada", "admin")
    ada = Accounts(registry, actor_of(registry, book.issue("ada", "first").secret))
    ada.create("eve", "admin")
    eve = Accounts(registry, actor_of(registry, ada.issue("eve", "her own").secret))
    assert ada.create("ben", "reviewer").made_by == "ada"
    issued = eve.issue("ben", "for me")
    assert issued.token.made_by == "eve"
    assert actor_of(registry, issued.secret).vouched_by == ("ada", "eve")
    assert actor_of(registry, ada.issue("ben", "his").secret).vouched_by == ("ada",)
    assert [each.made_by for each in ada.tokens("ben")] == ["eve", "ada"]
    assert {each.name: each.made_by for each in ada.accounts()} == {
        "ada": owner().name, "ben": "ada", "eve": "ada",
    }  # fmt: skip


def test_who_made_the_maker_vouches_too(registry: Registry, book: Accounts) -> None:
    """Or else one admin makes a second, who makes the second person."""
    book.create("ada", "admin")
    ada = Accounts(registry, actor_of(registry, book.issue("ada", "first").secret))
    ada.create("eve", "admin")
    eve = Accounts(registry, actor_of(registry, ada.issue("eve", "hers").secret))
    eve.create("ben", "reviewer")
    assert actor_of(registry, eve.issue("ben", "his").secret).vouched_by == ("eve", "ada")
    book.create("ivo", "admin")
    book.create("tom", "reviewer")
    ada.set_password("ivo", "ada knows this one")
    ivo = Accounts(registry, actor_of(registry, book.issue("ivo", "his").secret))
    token = ivo.issue("tom", "whose?").secret
    assert actor_of(registry, token).vouched_by == (owner().name, "ivo", "ada")


def test_no_secret_is_kept_anywhere(registry: Registry, book: Accounts, home: Path) -> None:
    book.create("ann", "viewer")
    secret = book.issue("ann", "laptop").secret
    registry.close()
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"laptop" in kept
    assert secret.encode() not in kept
    assert secret.removeprefix("lori_").encode() not in kept


def test_secrets_are_long_and_never_twice_the_same() -> None:
    secrets = {new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(secret.startswith("lori_") and len(secret) >= 5 + 43 for secret in secrets)


def test_dead_tokens_are_refused_with_the_reason(registry: Registry, book: Accounts) -> None:
    book.create("ann", "viewer")
    revoked, late, shut = (book.issue("ann", label) for label in ("one", "two", "three"))
    assert book.revoke(revoked.token.id).revoked is not None
    with registry._database.writing() as session:
        row = session.scalars(select(TokenRow).where(TokenRow.id == late.token.id)).one()
        row.expires = now() - timedelta(seconds=1)
    for secret, why in [
        (revoked.secret, "revoked"),
        (late.secret, "expired"),
        (new_secret(), "unknown"),
        ("", "not one of a registry"),
        ("lori_" + "x" * 10_000, "not one of a registry"),
        ("lori_\ud800", "unknown"),
    ]:
        with pytest.raises(TokenRefused, match=why):
            actor_of(registry, secret)
    assert actor_of(registry, shut.secret).name == "ann"
    book.disable("ann")
    with pytest.raises(TokenRefused, match="disabled"):
        actor_of(registry, shut.secret)
    book.enable("ann")
    assert actor_of(registry, shut.secret).name == "ann"


def test_a_refusal_never_holds_the_token(registry: Registry) -> None:
    secret = new_secret()
    with pytest.raises(TokenRefused) as refusal:
        actor_of(registry, secret)
    assert secret not in str(refusal.value)
    assert secret not in repr(refusal.value.args)


@pytest.mark.parametrize("role", ["viewer", "trainer", "reviewer", "promoter"])
def test_only_an_admin_touches_accounts(registry: Registry, book: Accounts, role: str) -> None:
    book.create("ann", "viewer")
    token = book.issue("ann", "laptop")
    other = Accounts(registry, Actor(name="eve", role=role, account=True))  # type: ignore[arg-type]
    for attempt in (
        lambda: other.create("eve2", "admin"),
        lambda: other.change_role("eve", "admin"),
        lambda: other.issue("ann", "mine"),
        lambda: other.disable("ann"),
        lambda: other.enable("ann"),
        lambda: other.revoke(token.token.id),
        other.accounts,
        lambda: other.tokens("ann"),
    ):
        with pytest.raises(CheckFailed, match=r"^role: "):
            attempt()
    assert [account.name for account in book.accounts()] == ["ann"]
    assert actor_of(registry, token.secret).role == "viewer"


def test_the_last_admin_stays(book: Accounts) -> None:
    book.create("ann", "admin")
    with pytest.raises(CheckFailed, match="ann is the last admin"):
        book.disable("ann")
    with pytest.raises(CheckFailed, match="ann is the last admin"):
        book.change_role("ann", "viewer")
    book.create("bob", "admin")
    assert book.disable("ann").disabled


def test_a_name_is_taken_for_ever(book: Accounts) -> None:
    book.create("ann", "viewer")
    book.disable("ann")
    with pytest.raises(CheckFailed, match="ann is taken"):
        book.create("ann", "admin")


@pytest.mark.parametrize("name", ["", "../x", "os:root", "Ann", "a b", "a\n", "a" * 65])
def test_a_name_that_is_none_makes_no_account(book: Accounts, name: str) -> None:
    with pytest.raises(BadInput, match="account name"):
        book.create(name, "viewer")
    assert book.accounts() == ()


def test_what_is_not_there_is_said_so(book: Accounts) -> None:
    with pytest.raises(BadInput, match="role 'king'"):
        book.create("ann", "king")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="account 'ann'"):
        book.issue("ann", "laptop")
    for token in (0, 7, -1, 10**400):
        with pytest.raises(NotFound, match="token"):
            book.revoke(token)


def test_a_token_expires_in_the_time_to_come(book: Accounts) -> None:
    book.create("ann", "viewer")
    for expires in (now() - timedelta(days=1), datetime(2030, 1, 1), datetime(1, 1, 1, tzinfo=UTC)):  # noqa: DTZ001
        with pytest.raises(BadInput):
            book.issue("ann", "laptop", expires)
    later = now() + timedelta(days=1)
    assert book.issue("ann", "laptop", later).token.expires == later
    assert [token.label for token in book.tokens("ann")] == ["laptop"]


def test_the_owner_is_the_os_user_under_a_name_no_account_can_have(
    book: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    found = owner()
    assert found == Actor(
        name=f"os:{pwd.getpwuid(os.getuid()).pw_name}", role="admin", account=False
    )
    with pytest.raises(BadInput):
        book.create(found.name, "admin")
