"""What waits for a decision, what is frozen and what the gate said, on the pages a person starts from."""

import html
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from api_cases import Browser
from decision_cases import ANN, HomeArtifacts, Learned, learn, measured
from fake_aliases import FakeAliases
from people import Person
from statements import statements

from dashboard.app import make_app
from lori_core.digests import sha256_json
from registry.accounts import new_secret
from registry.clock import now
from registry.desk import Desk
from registry.overviews import overviews
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry
from registry.version_list import version_list

S = "/sequences/assistant"


@pytest.fixture
def asking(home: Path, homes: Learned) -> Iterator[Registry]:
    """Two versions, and a policy that wants a second person."""
    homes.into(home, 2, "approval")
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        yield registry


def texts(registry: Registry, *paths: str) -> list[str]:
    person = Person(make_app(registry, token=new_secret(), errands=False))
    return [person.get(path).text for path in paths]


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def in_days(count: int) -> datetime:
    return now() + timedelta(days=count)


def spoil(registry: Registry, version: int) -> None:
    """From now on the first task scores nothing at a version: its gate must refuse."""
    bad = measured(registry, "assistant", version, "t01", "inherited", score=0)
    other = sha256_json(["spoilt", version])
    values = {name: getattr(bad, name) for name in bad.__slots__}
    registry.record_cell(type(bad)(**{**values, "effective_digest": other, "key": other}))


def test_requests_that_wait_and_a_freeze_stand_where_a_person_starts(asking: Registry) -> None:
    desk = Desk(asking, ANN)
    for page in texts(asking, "/", S):
        assert "wait for a decision" not in words(page)
        assert "frozen" not in words(page)
    for version in (1, 2):
        assert desk.promote("assistant", version, reason="better").status == "requested"
    desk.freeze("assistant", in_days(9), "release week")
    front, head = texts(asking, "/", S)
    assert "2 requests wait for a decision" in words(front)
    for page in (front, head):
        assert "2 requests wait" in words(page)
        assert f'<a href="{S}/promotions"><span class="badge waiting">2 requests wait' in page
        assert "frozen until" in words(page)
    assert "release week" in words(head)
    with Browser(asking, new_secret()) as browser:
        every = browser.get("/api/overviews", q="nothing-of-that-name").json
        (row,) = browser.get("/api/overviews").json["rows"]
        one = browser.get(f"/api{S}/overview").json["head"]
    assert (every["rows"], every["requests"], every["asked"]) == ([], 2, ["assistant"])
    for told in (row, one):
        assert told["requests"] == 2
        assert told["frozen"]["reason"] == "release week"
    for request in desk.pending("assistant"):
        desk.reject(request.id, reason="not now")
    for page in texts(asking, "/", S):
        assert "requests wait" not in words(page)


def test_a_freeze_that_is_over_or_thawed_is_none_and_of_several_the_longest_counts(
    asking: Registry, tmp_path: Path
) -> None:
    learn(asking, tmp_path / "other", 1, name="other")
    desk = Desk(asking, ANN)
    desk.freeze("assistant", in_days(1), "thawed soon")
    desk.thaw("assistant", "over")
    desk.freeze("other", in_days(9), "the longest")
    desk.freeze("other", in_days(2), "a shorter one")
    frozen = {row.name: row.frozen for row in overviews(asking).rows}
    assert frozen["assistant"] is None
    assert frozen["other"] == desk.frozen("other")
    assert frozen["other"] is not None
    assert frozen["other"].reason == "the longest"


def test_what_the_gate_said_last_stands_beside_every_certificate(asking: Registry) -> None:
    desk = Desk(asking, ANN)
    front, listed = texts(asking, "/", f"{S}/versions")
    assert "G2 not judged" in words(front)
    assert words(listed).count("not judged") == 2
    for version in (1, 2):
        assert desk.gate("assistant", version).ok
    assert "G2 gate passed" in words(texts(asking, "/")[0])
    spoil(asking, 2)
    assert not desk.gate("assistant", 2).ok
    front, listed = texts(asking, "/", f"{S}/versions")
    assert "G2 gate refused" in words(front)
    refused = f'<a href="{S}/promotions?version=2"><span class="badge fail">'
    assert f"{refused}gate refused" in front
    assert f"{refused}refused" in listed
    assert f'<a href="{S}/promotions?version=1"><span class="badge pass">passed' in listed
    with Browser(asking, new_secret()) as browser:
        (row,) = browser.get("/api/overviews").json["rows"]
        versions = browser.get(f"/api{S}/version-list").json["versions"]
    assert (row["newest"], row["gate"]["ok"]) == (2, False)
    assert [each["gate"]["ok"] for each in versions] == [False, True]


def test_requests_freezes_and_answers_cost_no_statement_each(
    asking: Registry, tmp_path: Path
) -> None:
    def counted() -> list[int]:
        numbers = []
        for look in (
            lambda: overviews(asking),
            lambda: sequence_view(asking, "assistant"),
            lambda: version_list(asking, "assistant"),
        ):
            with statements(asking) as count:
                look()
            numbers.append(count.number)
        return numbers

    desk = Desk(asking, ANN)
    desk.gate("assistant", 2)
    for name in ("one", "two"):
        learn(asking, tmp_path / name, 1, name=name, promotion="approval")
    counted()  # what is kept of the cells is kept now
    few = counted()
    for name in ("one", "two"):
        desk.promote(name, 1, reason="better")
        desk.freeze(name, in_days(1), "release week")
    desk.gate("assistant", 1)
    desk.gate("assistant", 2)
    desk.promote("assistant", 1, reason="better")
    desk.freeze("assistant", in_days(1), "release week")
    desk.freeze("assistant", in_days(2), "release week")
    assert counted() == few
