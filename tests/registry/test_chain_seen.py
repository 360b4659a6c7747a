"""A log as a page shows it: read again when it has grown, and when what is known is old."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import ANN, BEN
from fake_aliases import FakeAliases
from registry_examples import declare
from sqlalchemy import text

from registry import chain_seen as seen
from registry import ledger
from registry.chain_seen import chain_seen
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry, open_registry


@pytest.fixture
def logged(home: Path) -> Iterator[Registry]:
    with open_registry(home, aliases=FakeAliases()) as registry:
        declare(registry)
        for _ in range(3):
            freeze(registry)
        yield registry


def freeze(registry: Registry) -> None:
    Desk(registry, BEN).freeze("assistant", now() + timedelta(days=1), "release week")


def tamper(registry: Registry) -> None:
    with registry._database.writing() as session:
        session.execute(text("DROP TRIGGER promotion_events_refuses_update"))
        session.execute(text("UPDATE promotion_events SET actor = 'eve' WHERE position = 2"))


def test_what_is_shown_is_what_the_whole_check_says(logged: Registry) -> None:
    found = chain_seen(logged, "assistant").check
    assert found == ledger.check(logged, "assistant")
    assert (found.ok, found.length) == (True, 3)


def test_a_log_that_grew_is_read_again(logged: Registry) -> None:
    before = chain_seen(logged, "assistant")
    assert chain_seen(logged, "assistant") is before
    freeze(logged)
    assert chain_seen(logged, "assistant").check.length == 4


def test_an_edit_in_the_middle_shows_when_what_is_known_is_old(
    logged: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chain_seen(logged, "assistant").check.ok
    tamper(logged)
    monkeypatch.setattr(seen, "AGE", 0.0)
    assert chain_seen(logged, "assistant").check.faults == (
        "position 2: edited or moved (frozen by eve)",
    )


def test_rows_that_were_cut_off_show_at_once(logged: Registry) -> None:
    assert chain_seen(logged, "assistant").check.ok
    with logged._database.writing() as session:
        session.execute(text("DROP TRIGGER promotion_events_refuses_delete"))
        session.execute(text("DELETE FROM promotion_events WHERE position = 3"))
    (fault,) = chain_seen(logged, "assistant").check.faults
    assert fault.startswith("position 3: cut off")


def test_an_anchor_that_was_spoilt_shows_at_once(logged: Registry, home: Path) -> None:
    assert chain_seen(logged, "assistant").check.ok
    (home / "anchors" / "assistant.json").write_text('{"length": 3, "head": "another"}')
    assert not chain_seen(logged, "assistant").check.ok


def test_a_decision_never_asks_what_a_page_remembers(logged: Registry) -> None:
    assert chain_seen(logged, "assistant").check.ok
    tamper(logged)
    assert chain_seen(logged, "assistant").check.ok  # as of a moment ago, which the page says
    assert not Desk(logged, ANN).check_history("assistant").ok
