"""Sign-ins and rights to rows are the same on both databases, and hold between two at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from quick_passwords import quick_passwords
from registry_examples import declare
from sqlalchemy import func, select

from registry import passwords, sign_ins
from registry.access_models import SignInRow
from registry.accounts import Accounts, new_secret, owner
from registry.decisions import Actor
from registry.row_rights import NOTHING, RowRights, seen_by
from registry.store import Registry, open_registry

PASSWORD = "a few words that nobody says"
ANN = Actor(name="proxy:ann", role="viewer", account=True)


@pytest.fixture
def known(tables_kind: str, home: Path) -> Iterator[Registry]:
    with quick_passwords(), open_registry(home) as registry:
        declare(registry)
        book = Accounts(registry, owner())
        book.create("ben", "viewer")
        book.set_password("ben", PASSWORD)
        yield registry


def test_a_sign_in_begins_lasts_and_ends(known: Registry) -> None:
    assert sign_ins.with_password(known, "ben", "not this one") is None
    assert sign_ins.with_password(known, "eve", PASSWORD) is None
    begun = sign_ins.with_password(known, "ben", PASSWORD)
    assert begun is not None
    found = sign_ins.signed_in(known, begun.secret, printed_token=None)
    assert found == begun.sign_in
    assert (found.actor.name, found.actor.role, found.unseen_long) == ("ben", "viewer", False)
    for other in (
        "",
        begun.secret[:-1],
        begun.secret + "A",
        "x" * 65,
        "\ud800",
        begun.secret.upper(),
    ):
        assert sign_ins.signed_in(known, other, printed_token=None) is None
    sign_ins.note_seen(known, found.id)
    sign_ins.sign_out(known, found.id)
    assert sign_ins.signed_in(known, begun.secret, printed_token=None) is None
    sign_ins.note_seen(known, found.id)  # a page that was still on its way wakes nothing
    assert sign_ins.signed_in(known, begun.secret, printed_token=None) is None


def test_the_printed_token_signs_in_while_it_is_the_one(known: Registry) -> None:
    token = new_secret()
    begun = sign_ins.with_printed_token(known, token)
    found = sign_ins.signed_in(known, begun.secret, printed_token=token)
    assert found is not None
    assert found.actor == owner()
    assert sign_ins.signed_in(known, begun.secret, printed_token=new_secret()) is None
    assert sign_ins.signed_in(known, begun.secret, printed_token=None) is None


def test_who_comes_by_a_proxy_many_times_at_once_has_one_secret(known: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: sign_ins.proxied_in(known, ANN), range(24)))
    assert len({each.csrf for each in found}) == 1
    with known._database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SignInRow)) == 1


def test_a_password_that_changes_while_it_is_looked_at_lets_nobody_in(
    known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = passwords.matches

    def changed_meanwhile(kept: str | None, password: str) -> bool:
        right = matches(kept, password)
        Accounts(known, owner()).set_password("ben", "chosen meanwhile, and long")
        return right

    monkeypatch.setattr(passwords, "matches", changed_meanwhile)
    assert sign_ins.with_password(known, "ben", PASSWORD) is None


def test_rights_to_rows_are_kept(known: Registry) -> None:
    rights = RowRights(known, owner())
    ben = Actor(name="ben", role="viewer", account=True)
    assert seen_by(known, ben, owner=False) == NOTHING
    rights.allow_rows("ben", "assistant", "safety")
    rights.allow_rows("ben", "assistant", None)
    rights.hide_rows("assistant", "math", "addresses")
    seen = seen_by(known, ben, owner=False)
    assert [seen.sees("assistant", task) for task in ("safety", "math", "code")] == [
        True, False, True,
    ]  # fmt: skip
    mine = seen_by(known, owner(), owner=True)
    assert (mine.sees("anything", "at-all"), mine.sees("assistant", "math")) == (True, False)
    assert [each.task for each in rights.row_rights()] == [None, "safety"]
