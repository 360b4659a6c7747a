from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from registry_examples import declare

from lori_core.errors import BadInput, CheckFailed
from registry.accounts import TOKEN_VARIABLE, Accounts, TokenRefused, owner
from registry.clock import now
from registry.desks import acting, open_desk, refuse_unless_allowed
from registry.settings import REGISTRY_VARIABLE, registry_server, without_password
from registry.store import Registry, open_registry


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_here_the_os_user_acts(registry: Registry, home: Path) -> None:
    with open_desk(home) as here:
        assert (here.actor, here.place) == (owner(), str(home))
        assert here.readers.sequences() == ("assistant",)
        assert here.desk.champion("assistant") is None


def test_with_a_token_its_account_acts_even_here(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Accounts(registry, owner())
    book.create("ann", "viewer")
    monkeypatch.setenv(TOKEN_VARIABLE, book.issue("ann", "x").secret)
    with open_desk(home) as here:
        assert here.actor is not None
        assert (here.actor.name, here.actor.role) == ("ann", "viewer")
    monkeypatch.setenv(TOKEN_VARIABLE, "lori_unknown")
    with pytest.raises(TokenRefused), open_desk(home):
        pass


def test_once_there_is_an_account_the_os_user_reads_and_no_more(
    registry: Registry, home: Path
) -> None:
    Accounts(registry, owner()).create("ada", "admin")
    with open_desk(home) as here:
        assert here.desk.champion("assistant") is None
        assert here.actor == replace(owner(), role="viewer")
        for act in (
            lambda: here.desk.freeze("assistant", now() + timedelta(hours=1), "mine"),
            lambda: here.accounts.create("eve", "admin"),
            lambda: refuse_unless_allowed(home, "file"),
        ):
            with pytest.raises(CheckFailed, match="set LORI_TOKEN to that of a") as refusal:
                act()
            assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_on_a_server_the_os_user_reads_even_before_the_first_account(url: str, home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
        assert acting(registry) == replace(owner(), role="viewer")
    with pytest.raises(CheckFailed, match="LORI_TOKEN"):
        refuse_unless_allowed(home, "adopt")


def test_another_sqlite_file_than_the_homes_own_has_no_owner(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, f"sqlite:///{tmp_path / 'shared.db'}")
    with open_registry(home) as registry:
        assert acting(registry).role == "viewer"


def test_a_home_that_is_not_there_yet_is_who_makes_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unless_allowed(tmp_path / "none", "file")
    monkeypatch.setenv(TOKEN_VARIABLE, "lori_x")
    with pytest.raises(TokenRefused):
        refuse_unless_allowed(tmp_path / "none", "file")
    assert not (tmp_path / "none").exists()


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"), open_desk(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("url", ["http://host:1", "https://host", "HTTP://host"])
def test_only_the_desk_takes_a_servers_address(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, url)
    assert registry_server() == url
    with pytest.raises(BadInput, match="is a server's API"):
        open_registry(home)
    with open_desk() as here:
        assert (here.registry, here.actor, here.place) == (None, None, url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:se@cret@host/x", "http://me:***@host/x"),
        ("://u:secret@host", "://u:***@host"),
        ("u:secret@host", "u:***@host"),
        ("http://[::1", "http://[::1"),
        ("http://me@host", "http://me@host"),
    ],
)
def test_a_password_is_hidden_in_whatever_was_meant_as_a_url(url: str, shown: str) -> None:
    assert without_password(url) == shown
