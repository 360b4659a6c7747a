"""Passwords and row rights by command, here and at a server's."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result

from flows.cli import lori
from registry import passwords, sign_ins
from registry.accounts import TOKEN_VARIABLE
from registry.home import open_lock, try_lock
from registry.store import open_registry
from tests.flows.filed import NAME, declare

PASSWORD = "a few words that nobody says"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    with open_registry(home) as registry:
        declare(registry)
    monkeypatch.setenv("LORI_HOME", str(home))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    return home


def say(*words: str, stdin: str | None = None, token: str | None = None) -> Result:
    return CliRunner().invoke(lori, list(words), input=stdin, env={TOKEN_VARIABLE: token})


def signs_in(home: Path, name: str, password: str) -> bool:
    with open_registry(home) as registry:
        return sign_ins.with_password(registry, name, password) is not None


def test_who_runs_lori_up_is_told_to_start_it_again_with_a_token(home: Path) -> None:
    lock = open_lock(home / "up.lock")
    try:
        assert try_lock(lock)
        told = say("accounts", "first", "ann").stderr
    finally:
        os.close(lock)
    [line] = [line for line in told.splitlines() if "`lori up`" in line]
    assert "LORI_TOKEN=<token of a trainer>" in line


@pytest.mark.parametrize("there", [False, True])
def test_accounts_may_come_before_anything_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    new = tmp_path / "new"
    if there:
        new.mkdir()
    monkeypatch.setenv("LORI_HOME", str(new))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    bad = say("accounts", "first", "no name")
    assert (bad.exit_code, new.exists()) == (2, there)
    first = say("accounts", "first", "ann")
    assert first.exit_code == 0, first.output
    listed = say("accounts", "list", token=first.stdout.strip())
    assert (listed.exit_code, "ann" in listed.stdout) == (0, True)


def test_a_home_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "file" / "home"))
    for words in (("accounts", "first", "ann"), ("dashboard", "--port", "0")):
        answer = say(*words)
        assert (answer.exit_code, "a folder that can be written" in answer.stderr) == (2, True)


def test_a_dashboard_makes_the_home_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = []
    monkeypatch.setattr(
        "dashboard.serve.serve", lambda registry, **options: served.append(registry.sequences())
    )
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "new"))
    answer = say("dashboard", "--port", "0")
    assert (answer.exit_code, served) == (0, [()])
    assert f"home {tmp_path / 'new'} is new" in answer.stderr


def test_where_nothing_runs_no_restart_is_asked_for(home: Path) -> None:
    assert "lori up" not in say("accounts", "first", "ann").stderr


def test_the_first_admin_may_be_given_a_password_and_gives_others_theirs(home: Path) -> None:
    first = say("accounts", "first", "ann", "--password", stdin=PASSWORD + "\n")
    assert first.exit_code == 0, first.output
    token = first.stdout.strip()
    assert token.startswith("lori_")
    assert PASSWORD not in first.output
    assert signs_in(home, "ann", PASSWORD)
    assert say("accounts", "add", "ben", "--role", "viewer", token=token).exit_code == 0
    assert not signs_in(home, "ben", PASSWORD)
    made = say("accounts", "password", "ben", stdin=PASSWORD + "\r\n", token=token)
    assert made.stdout == "ben signs in by the new password\n"
    assert signs_in(home, "ben", PASSWORD)
    refused = say("accounts", "password", "ben", stdin=PASSWORD)
    assert (refused.exit_code, "LORI_TOKEN" in refused.stderr) == (1, True)
    bens = say("accounts", "token", "ben", token=token).stdout.strip()
    words = "ben's own long words"
    assert say("accounts", "password", "ben", stdin=words, token=bens).exit_code == 1
    both = f"{PASSWORD}\n{words}"
    own = say("accounts", "password", "ben", "--own", stdin=both, token=bens)
    assert own.exit_code == 0
    listed = json.loads(say("accounts", "list", "--json", token=token).stdout)
    assert [(each["name"], each["password_by"]) for each in listed][1:] == [("ben", "ben")]
    assert (signs_in(home, "ben", PASSWORD), signs_in(home, "ben", "ben's own long words")) == (
        False,
        True,
    )
    assert say("accounts", "password", "ann", stdin=PASSWORD, token=bens).exit_code == 1
    assert say("accounts", "password", "eve", stdin=PASSWORD, token=token).exit_code == 2


@pytest.mark.parametrize("typed", ["", "\n", "too short", "x" * 300])
def test_a_password_that_will_not_do_makes_no_account(home: Path, typed: str) -> None:
    answer = say("accounts", "first", "ann", "--password", stdin=typed)
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert "expected 12 to 256" in answer.stderr
    assert len(typed) < 2 or typed not in answer.stderr
    assert json.loads(say("accounts", "list", "--json").stdout) == []


def test_a_terminal_is_asked_twice_and_shows_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.commands import accounts

    asked: list[dict[str, object]] = []

    def prompt(text: str, **options: object) -> str:
        asked.append(options)
        return PASSWORD

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(accounts.click, "prompt", prompt)
    assert accounts.ask_password() == PASSWORD
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]


def test_rows_are_allowed_hidden_listed_and_revoked(home: Path) -> None:
    with open_registry(home) as registry:
        task = registry.sequence(NAME).tasks[0]
    token = say("accounts", "first", "ann").stdout.strip()
    say("accounts", "add", "ben", "--role", "viewer", token=token)
    for words, told in [
        (("allow", "ben", NAME, task), f"ben sees the rows of {task} of {NAME}"),
        (
            ("allow", "proxy:Eve@x.org", NAME),
            f"proxy:eve@x.org sees the rows of every task of {NAME}",
        ),
        (("hide", NAME, task, "--reason", "addresses"), f"the rows of {task} of {NAME} are hidden"),
    ]:
        answer = say("rows", *words, token=token)
        assert (answer.exit_code, told in answer.stdout) == (0, True), answer.output
    listed = json.loads(say("rows", "list", "--json", token=token).stdout)
    assert [(each["account"], each["task"], each["made_by"]) for each in listed["allowed"]] == [
        ("ben", task, "ann"),
        ("proxy:eve@x.org", None, "ann"),
    ]
    assert [(each["task"], each["reason"]) for each in listed["hidden"]] == [(task, "addresses")]
    table = say("rows", "list", token=token).stdout
    assert ("nobody" in table, "all" in table, "addresses" in table) == (True, True, True)
    for words, code in [
        (("unhide", NAME, task), 0),
        (("unhide", NAME, task), 2),
        (("revoke", "ben", NAME), 2),  # it was given for one task
        (("revoke", "ben", NAME, task), 0),
        (("revoke", "proxy:eve@x.org", NAME), 0),
        (("allow", "nobody", NAME), 2),
        (("allow", "ben", "nothing"), 2),
        (("allow", "ben", NAME, "nothing"), 2),
    ]:
        assert say("rows", *words, token=token).exit_code == code, words
    listed = json.loads(say("rows", "list", "--json", token=token).stdout)
    assert listed == {"allowed": [], "hidden": []}
    assert say("rows", "list").exit_code == 1


def test_options_of_a_proxy_are_refused_before_anything_is_served(home: Path) -> None:
    for words in (
        ("--user-header", "X-User"),
        ("--trusted-proxy", "nowhere"),
        ("--trusted-proxy", "10.0.0.1", "--user-header", "X-User"),
    ):
        answer = say("dashboard", "--port", "0", *words)
        assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1), answer.output
