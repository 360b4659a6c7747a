"""Moving an alias: on the gate's word, against the champion it was decided on."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import ADA, ANN, MODEL, TOM, WHY, kinds, promote
from fake_aliases import FakeAliases
from sqlalchemy import text

from lori_core.errors import BadInput, CheckFailed
from registry import outbox
from registry.applying import reconcile
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry


def test_a_version_that_passes_its_gate_serves(four: Registry, aliases: FakeAliases) -> None:
    desk = Desk(four, ANN)
    assert desk.champion("assistant") is None
    first = desk.promote("assistant", 1, reason=WHY, expect="none")
    second = desk.promote("assistant", None, reason=WHY, expect=1)
    assert (first.from_version, first.to_version, first.status) == (None, 1, "applied")
    assert (second.from_version, second.to_version, second.requested_by) == (1, 4, "ann")
    assert desk.champion("assistant") == 4
    assert desk.champion("assistant", "previous") == 1
    assert aliases.aliases == {(MODEL, "champion"): 4, (MODEL, "previous"): 1}
    assert kinds(four) == ["requested", "applying", "applied"] * 2
    assert desk.check_history("assistant").ok


def test_what_it_was_decided_on_can_be_found_again(four: Registry) -> None:
    made = Desk(four, ANN).promote("assistant", 2, reason=WHY, expect="none")
    with four._database.reading() as session:
        report = session.execute(
            text(f"SELECT number, ok, sha256 FROM gate_reports WHERE id = {made.report_id}")
        ).one()
    assert (report.number, bool(report.ok), report.sha256) == (2, True, made.report_sha256)


def test_a_limit_is_allowed_for_a_drop_and_asked_for_of_a_gain(four: Registry) -> None:
    promote(four, 1)
    said = {rule.rule: rule.why for rule in Desk(four, ANN).gate("assistant", 2).rules}
    assert "at least 0.0% is asked" in said["learning:t02"]
    assert "at most" in said["forgetting:t01"]
    assert "is asked" not in said["forgetting:t01"]
    assert not any("at least 0.0% is allowed" in why for why in said.values())


@pytest.mark.parametrize("expect", ["none", 2, 0])
def test_who_expects_another_champion_is_told_that_it_moved(
    four: Registry, aliases: FakeAliases, expect: int
) -> None:
    promote(four, 1)
    before = kinds(four)
    with pytest.raises(CheckFailed, match=r"champion: moved: assistant@champion is version 1"):
        Desk(four, ANN).promote("assistant", 3, reason=WHY, expect=expect)
    assert aliases.aliases[MODEL, "champion"] == 1
    assert kinds(four) == before


def test_asking_again_for_what_serves_changes_nothing(four: Registry) -> None:
    promote(four, 2)
    made = Desk(four, ANN).promote("assistant", 2, reason="once more")
    assert (made.id, made.reason) == (1, WHY)
    assert len(kinds(four)) == 3


def test_a_version_that_its_gate_refuses_does_not_serve(
    four: Registry, aliases: FakeAliases, home: Path
) -> None:
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    with pytest.raises(CheckFailed, match=r"gate: assistant/2 is refused: cells: .*t02"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    assert aliases.aliases == {}
    assert Desk(four, ANN).history("assistant") == ()


def test_a_candidate_serves_nothing_and_follows_the_gate_too(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1)
    made = Desk(four, TOM).promote("assistant", 3, reason=WHY, to="candidate", expect="none")
    assert (made.alias, made.status, made.from_version) == ("candidate", "applied", None)
    desk = Desk(four, ANN)
    assert (desk.champion("assistant"), desk.champion("assistant", "candidate")) == (1, 3)
    assert desk.champion("assistant", "previous") is None
    assert [each.to_version for each in desk.history("assistant")] == [1]
    assert aliases.aliases == {(MODEL, "champion"): 1, (MODEL, "candidate"): 3}


def test_previous_cannot_be_set_by_hand(four: Registry) -> None:
    with pytest.raises(BadInput, match="follows the champion"):
        Desk(four, ANN).promote("assistant", 1, reason=WHY, to="previous")


@pytest.mark.parametrize("version", [0, 9, 2**40])
def test_a_version_that_is_none_is_refused(four: Registry, version: int) -> None:
    with pytest.raises(BadInput):
        Desk(four, ANN).promote("assistant", version, reason=WHY)
    assert kinds(four) == []


@pytest.mark.parametrize("name", ["nope", "../../etc/passwd", "a/b", "", "a\0b"])
def test_a_name_that_is_no_sequence_becomes_no_file(four: Registry, home: Path, name: str) -> None:
    before = sorted(path for path in home.parent.rglob("*"))
    desk = Desk(four, ADA)
    for work in (
        lambda: desk.promote(name, 1, reason=WHY),
        lambda: desk.rollback(name, reason=WHY),
        lambda: desk.freeze(name, now() + timedelta(days=1), WHY),
        lambda: reconcile(four, name),
    ):
        with pytest.raises(BadInput):
            work()
    assert sorted(path for path in home.parent.rglob("*")) == before


def test_what_was_decided_is_told_with_it(four: Registry) -> None:
    outbox.add(four, "chat", "http://127.0.0.1:9/", kinds=["applied"])
    promote(four, 1)
    (waiting,) = outbox.undelivered(four)
    assert waiting.kind == "applied"
    seen: list[dict[str, object]] = []

    def post(url: str, body: bytes, headers: object) -> int:
        seen.append(json.loads(body))
        return 200

    outbox.deliver(four, now() + timedelta(seconds=1), post)
    data = seen[0]["data"]
    assert isinstance(data, dict)
    assert (data["sequence"], data["position"], data["actor"]) == ("assistant", 3, "ann")
    assert data["promotion"]["to_version"] == 1
