"""Who may not promote changes nothing of what decides what serves, whichever way he comes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows import learn_arrival
from flows.cli import lori
from flows.deciding import Verdict
from flows.learn_file import learn_file
from flows.plan import read_plan
from flows.session import declare
from flows.telling import Telling
from flows.working import Work
from flows.workshop import Workshop
from lori_core.errors import BadInput
from registry.accounts import TOKEN_VARIABLE, Accounts, owner
from registry.arrival_records import Source
from registry.decisions import Actor, Role
from registry.desks import Decisions
from registry.home import HOME_VARIABLE
from registry.queueing import Queue
from tests.flows.arriving_cases import BASE, Desk, a_desk

APPROVAL = "promotion: approval\nguards: [color]\ngate: {max_forgetting: 0.01}"
ROLES: Mapping[str, Role] = {"ann": "admin", "pam": "promoter", "tom": "trainer"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_desk(tmp_path) as found:
        yield found


@pytest.fixture
def known(desk: Desk) -> Desk:
    """A sequence an admin declared, whose versions a second person decides on."""
    _people(desk)
    _declared(desk, APPROVAL)
    return desk


def _people(desk: Desk) -> None:
    accounts = Accounts(desk.registry, owner())
    for name, role in ROLES.items():
        accounts.create(name, role)


def _token(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(HOME_VARIABLE, str(desk.home))
    secret = Accounts(desk.registry, owner()).issue(name, "tests").secret
    monkeypatch.setenv(TOKEN_VARIABLE, secret)
    return secret


def _declared(desk: Desk, more: str, *, may_promote: bool = True) -> None:
    plan = read_plan(desk.file("color", more=more), desk.home)
    declare(desk.registry, plan, BASE, may_promote=may_promote)


def _settings(desk: Desk) -> Mapping[str, Any]:
    found = desk.registry.find_sequence("tiny")
    assert found is not None
    return found.settings


LOOSER = {
    "promotion": "promotion: manual\nguards: [color]\ngate: {max_forgetting: 0.01}",
    "gate.max_forgetting": "promotion: approval\nguards: [color]\ngate: {max_forgetting: 1}",
    "gate.min_learning": f"{APPROVAL[:-1]}, min_learning: -1}}",
    "gate.underpowered": f"{APPROVAL[:-1]}, underpowered: warn}}",
    "guards": "promotion: approval\ngate: {max_forgetting: 0.01}",
}


def test_a_trainers_submission_that_loosens_a_known_sequence_is_refused_and_changes_nothing(
    known: Desk,
) -> None:
    before = _settings(known)
    known.sender = "tom"
    ways: tuple[Source, ...] = ("api", "folder", "event", "command", "schedule")
    for (key, more), source in zip(LOOSER.items(), ways, strict=True):
        line = known.refused(known.file("color", "size", more=more), source="api")
        assert f"{key} of 'tiny' would change" in line
        assert "takes an admin" in line
        assert "or leave them as they are" in line
        assert known.refused(known.file("color", "size", more=more), source=source) == line
    assert _settings(known) == before


def test_who_may_promote_changes_what_a_trainer_may_not(known: Desk) -> None:
    known.sender = "pam"
    assert (
        known.send(known.file("color", more=LOOSER["promotion"]), source="api").state == "accepted"
    )
    known.learn(known.arrivals.arrival(1))
    assert _settings(known)["promotion"] == "manual"
    known.sender = "ann"
    looser = known.file("color", "size", more=LOOSER["gate.max_forgetting"])
    assert known.send(looser, source="api").state == "accepted"
    known.learn(known.arrivals.arrival(2))
    assert (_settings(known)["promotion"], _settings(known)["gate"]["max_forgetting"]) == (
        "approval",
        1,
    )


def test_a_trainer_goes_on_under_the_settings_it_has_and_may_guard_his_own_task(
    known: Desk,
) -> None:
    known.sender = "tom"
    more = APPROVAL.replace("[color]", "[color, size]")
    assert known.send(known.file("color", "size", more=more), source="api").state == "accepted"
    for arrival in known.arrivals.arrivals():
        known.learn(arrival)
    assert (_settings(known)["promotion"], _settings(known)["guards"]) == (
        "approval",
        ["color", "size"],
    )


def test_what_an_admin_changes_meanwhile_outlasts_a_trainers_task_that_waits(known: Desk) -> None:
    known.sender = "tom"
    known.send(known.file("color", more=APPROVAL))
    known.learn(known.arrivals.arrival(1))
    known.send(known.file("color", "size", more=APPROVAL))
    _declared(known, f"{APPROVAL[:-1]}, min_learning: 0.2}}")
    known.learn(known.arrivals.arrival(2))
    assert _settings(known)["gate"]["min_learning"] == 0.2


def test_a_trainers_first_declaration_that_waits_changes_nothing_once_another_was_recorded(
    desk: Desk,
) -> None:
    _people(desk)
    desk.sender = "tom"
    desk.send(desk.file("size", more="promotion: manual"))
    desk.sender = "ann"
    desk.send(desk.file("color", more=APPROVAL), priority=9)
    desk.sender = "tom"
    assert "promotion" in desk.refused(desk.file("animal", more="promotion: manual"))
    first, second = desk.arrivals.arrivals()
    desk.learn(second)
    before = _settings(desk)
    with pytest.raises(BadInput, match="promotion of 'tiny' would change"):
        desk.learn(first)
    assert _settings(desk) == before


def test_lori_run_with_a_trainers_token_refuses_what_loosens_a_known_sequence(
    known: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _token(known, "tom", monkeypatch)
    before = _settings(known)
    file = known.file("color", more=LOOSER["promotion"])
    with pytest.raises(BadInput, match="promotion of 'tiny' would change"):
        learn_file(file)
    answer = CliRunner().invoke(lori, ["submit", str(file)], env={TOKEN_VARIABLE: token})
    assert (answer.exit_code != 0, "promotion of 'tiny'" in answer.stderr) == (True, True)
    assert known.arrivals.arrivals() == ()
    with pytest.raises(BadInput, match="promotion of 'tiny' would change"):
        _declared(known, LOOSER["promotion"], may_promote=False)
    assert json.dumps(_settings(known)) == json.dumps(before)


def test_lori_run_with_a_trainers_token_declares_no_sequence_that_promotes_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _people(desk)
    _token(desk, "tom", monkeypatch)
    with pytest.raises(BadInput, match="promoted by themselves"):
        learn_file(desk.file("color", more="promotion: auto"))
    with pytest.raises(BadInput, match="promoted by themselves"):
        _declared(desk, "promotion: auto", may_promote=False)
    assert desk.registry.find_sequence("tiny") is None


def test_whom_a_proxy_signed_in_changes_nothing_by_what_he_submits(desk: Desk) -> None:
    """What his groups make of him is not kept with it; on a home without accounts neither."""
    _declared(desk, APPROVAL)
    desk.sender = "proxy:tom"
    for more in LOOSER.values():
        assert "takes an admin" in desk.refused(desk.file("color", more=more), source="api")
    new = desk.file("color", name="other", more="promotion: auto")
    assert "promoted by themselves" in desk.refused(new, source="api")
    assert desk.send(desk.file("color", more=APPROVAL), source="api").state == "accepted"


def test_a_guard_that_is_not_learned_yet_is_kept_too(desk: Desk) -> None:
    plan = read_plan(desk.file("color", "size", more="guards: [size]"), desk.home)
    declare(desk.registry, plan, BASE, may_promote=True)
    with pytest.raises(BadInput, match="guards of 'tiny' would change"):
        _declared(desk, "", may_promote=False)
    assert _settings(desk)["guards"] == ["size"]


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_trainer_lets_no_older_task_go_on_that_brings_other_settings_back(
    known: Desk, verb: str
) -> None:
    known.sender = "ann"
    known.send(known.file("color", more=LOOSER["promotion"]))
    known.send(known.file("color", "size", more=APPROVAL))
    loose, same = known.arrivals.arrivals()
    for each in (loose, same):
        if verb == "retry":
            known.arrivals.cancel(each.id, "tom")
        else:
            known.arrivals.hold(each.id, "tom")
    before = known.arrivals.arrivals()
    tom = Queue(known.registry, Actor(name="tom", role="trainer", account=True))
    with pytest.raises(BadInput, match=f"arrival {loose.id}: promotion of 'tiny' would change"):
        getattr(tom, verb)(loose.id)
    assert known.arrivals.arrivals() == before
    assert getattr(tom, verb)(same.id).state == "waiting"
    ann = Queue(known.registry, Actor(name="ann", role="admin", account=True))
    assert getattr(ann, verb)(loose.id).state == "waiting"


def test_a_version_that_is_filed_already_is_decided_on_by_what_is_recorded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.send(desk.file("color", more="promotion: auto"))
    [arrival] = desk.arrivals.arrivals()
    desk.learn(arrival)
    _declared(desk, "promotion: manual")
    asked: list[str] = []

    def promote(
        decisions: Decisions, sequence: str, version: int, verdict: Verdict, promotion: str
    ) -> list[str]:
        asked.append(promotion)
        return []

    monkeypatch.setattr(learn_arrival, "promote_as_allowed", promote)
    telling = Telling(desk.folder / "arrival.log")
    with Workshop() as shop:
        work = Work(
            home=desk.home,
            arrival=arrival,
            registry=desk.registry,
            telling=telling,
            ours=lambda: None,
            shop=shop,
        )
        assert learn_arrival.learn_one(work) == 1
    assert asked == ["manual"]


def test_without_accounts_everybody_changes_what_he_likes(desk: Desk) -> None:
    _declared(desk, APPROVAL)
    sent = desk.file("color", more="promotion: manual")
    assert desk.send(sent, source="api").state == "accepted"
    desk.learn(desk.arrivals.arrival(1))
    assert _settings(desk)["promotion"] == "manual"
