"""The promotions page, used as people use it: through its forms, over HTTP, without a script."""

import html
import io
import re
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from decision_cases import ANN, BEN, HomeArtifacts, Learned, learn, measured
from fake_aliases import FakeAliases
from fastapi import FastAPI
from httpx import Response
from people import Person, add_pages, give_passwords
from quick_passwords import quick_passwords
from sqlalchemy import select, text
from statements import counted

from dashboard.app import make_app
from dashboard.downloads import Downloads
from dashboard.once import COOKIE as TOLD
from lori_core.digests import sha256_json
from registry import sequence_head
from registry.accounts import new_secret
from registry.clock import now
from registry.decision_models import PromotionRow, ReportRow
from registry.decisions import Actor
from registry.desk import Desk
from registry.gating import policy_of
from registry.ledger import append, facts_hash
from registry.lineage import known_sequence
from registry.promotion_view import promotion_view
from registry.records import Cell
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry
from registry.timeline import timeline

S = "/sequences/assistant"
PAGE = f"{S}/promotions"
API = "/api/sequences/assistant/promotions/overview"
ASKER, APPROVER, ADMIN = "promoter", "reviewer", "admin"
VIEWER = Actor(name="viewer", role="viewer", account=True)


@pytest.fixture(scope="module", autouse=True)
def _quick_passwords() -> Iterator[None]:
    with quick_passwords():
        yield


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return Learned(tmp_path_factory.mktemp("learned"))


@pytest.fixture
def manual(home: Path, homes: Learned) -> Iterator[Registry]:
    """Four versions that pass their gates; a promoter promotes by himself."""
    homes.into(home, 4)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        give_passwords(registry)
        yield registry


@pytest.fixture
def asking(home: Path, homes: Learned) -> Iterator[Registry]:
    """Three versions, and a policy that wants a second person."""
    homes.into(home, 3, "approval")
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        give_passwords(registry)
        yield registry


@lru_cache(maxsize=1)
def app_of(registry: Registry) -> FastAPI:
    """One for all who come: to make one takes longer than to answer."""
    return add_pages(make_app(registry, token=None, errands=False))


def as_(registry: Registry, name: str) -> Person:
    person = Person(app_of(registry))
    assert person.sign_in(name).status_code == 303
    return person


def hidden(page: Response, name: str) -> str:
    """A hidden field of the page, as a browser would send it back."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, name
    return html.unescape(found[1])


def promote(
    person: Person, reason: str = "better", *, to: str = "champion", **fields: str
) -> Response:
    page = person.get(PAGE)
    seen = {name: hidden(page, name) for name in ("version", "expect", "expect_candidate")}
    return person.fill_in(f"{S}/promote", {**seen, "to": to, "reason": reason, **fields})


def told(answer: Response) -> str:
    assert answer.status_code == 303, words(answer)
    assert answer.headers["location"].partition("?")[0] == PAGE
    return answer.cookies[TOLD].partition(":")[0]


def words(answer: Response) -> str:
    """What a person reads."""
    body = re.sub(r"<(script|style).*?</\1>", " ", answer.text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def champion(registry: Registry) -> int | None:
    return Desk(registry, VIEWER).champion("assistant")


def spoil(registry: Registry, version: int, task: str = "t01") -> Cell:
    """From now on a task scores nothing at a version: its gate must refuse."""
    bad = measured(registry, "assistant", version, task, "inherited", score=0)
    other = sha256_json(["spoilt", version, task])
    return registry.record_cell(replace(bad, effective_digest=other, key=other))


# The whole story, by forms alone


def test_promoted_refused_approved_rolled_back_and_all_of_it_in_the_history(
    asking: Registry,
) -> None:
    ann, ben = as_(asking, ASKER), as_(asking, APPROVER)
    assert told(promote(ann, "safety first", version="1")) == "requested"
    assert champion(asking) is None
    assert told(answer(ben, 1, "approve", "I read the report")) == "approved"
    assert told(promote(ann, "math for the pilot", version="2")) == "requested"
    assert told(answer(ben, 2, "approve", "agreed")) == "approved"
    assert champion(asking) == 2
    spoil(asking, 3)
    refused = promote(ann, "all of it", version="3")
    assert refused.status_code == 409
    assert "Not done. The gate refuses assistant/3. forgetting t01 :" in words(refused)
    assert champion(asking) == 2
    page = ann.get(PAGE)
    fields = {"expect": hidden(page, "expect"), "to_version": "previous", "reason": "too long"}
    assert told(ann.fill_in(f"{S}/rollback", fields)) == "rolled-back"
    assert champion(asking) == 1
    history = words(as_(asking, "viewer").get(PAGE)).partition("History")[2]
    for part in (
        "Rollback 3", "too long",
        "refused Gate report", "Refused by", "forgetting:t01",
        "Promotion 2", "math for the pilot", "asked by promoter , approved by reviewer", "agreed",
        "Promotion 1", "safety first", "I read the report",
    ):  # fmt: skip
        assert part in history, (part, history)
    order = [
        history.index(each) for each in ("Rollback 3", "Gate report", "Promotion 2", "Promotion 1")
    ]
    assert order == sorted(order)


def answer(person: Person, promotion: int, what: str, reason: str) -> Response:
    return person.fill_in(f"/promotions/{promotion}/{what}", {"reason": reason})


def test_one_person_promotes_where_the_policy_says_so(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    assert "Nothing serves yet" in words(ann.get(PAGE))
    assert told(promote(ann, version="2")) == "promoted"
    page = words(ann.get(PAGE))
    assert "assistant/2 serves, on the word of promoter" in page
    assert "Done. It serves" in page


def test_what_was_done_is_told_once_to_who_did_it_and_no_link_tells_it(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    sent = promote(ann, version="2")
    kept = sent.headers["set-cookie"].lower()
    assert all(each in kept for each in ("httponly", "samesite=strict", "max-age=60"))
    assert sent.headers["location"] == PAGE
    ben = as_(manual, APPROVER)
    ben.client.cookies.set(TOLD, sent.cookies[TOLD], domain="127.0.0.1")
    assert "Done." not in words(ben.get(PAGE))
    assert "Done." not in words(ann.get("/sequences/assistant"))  # another page
    assert "Done. It serves" in words(ann.get(PAGE))
    assert "Done." not in words(ann.get(PAGE))
    for told in ("promoted", "rolled-back", "approved", "frozen", "<b>x"):
        assert 'class="told good"' not in ann.get(PAGE, {"told": told}).text
    for planted in ("x", "promoted", "promoted:x:1:", "You won:0:1:", '"', "promoted:0"):
        ann.client.cookies.set(TOLD, planted, domain="127.0.0.1")
        page = ann.get(PAGE)
        assert (page.status_code, 'class="told good"' in page.text) == (200, False)


def test_a_candidate_serves_nothing(manual: Registry) -> None:
    tom = as_(manual, "trainer")
    assert told(promote(tom, to="candidate")) == "candidate"
    assert champion(manual) is None
    assert Desk(manual, VIEWER).champion("assistant", "candidate") == 4


# Compare and swap


def test_a_champion_that_moved_is_said_plainly_and_what_was_typed_is_kept(manual: Registry) -> None:
    ann, ada = as_(manual, ASKER), as_(manual, ADMIN)
    seen = hidden(ann.get(PAGE), "expect")
    assert told(promote(ada, version="1")) == "promoted"
    late = ann.fill_in(
        f"{S}/promote", {"version": "2", "to": "champion", "expect": seen, "reason": "my <b> words"}
    )
    assert late.status_code == 409
    said = words(late)
    assert "What serves has moved since you looked." in said
    assert "Now assistant/1 serves, which is not what you decided against" in said
    assert "my &lt;b&gt; words" in late.text
    assert champion(manual) == 1
    assert hidden(late, "expect") == "1"  # whoever looks again decides on what he sees now


def test_a_form_says_what_its_person_saw(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for expect in ("", "x", "-1", "99999999999999"):
        refused = promote(ann, expect=expect)
        assert (refused.status_code, champion(manual)) == (400, None)
        assert "expect" in words(refused)


def test_a_rollback_too_is_against_what_was_seen(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    stale = {"to_version": "0", "expect": "1", "reason": "off"}
    assert ann.fill_in(f"{S}/rollback", stale).status_code == 409
    assert champion(manual) == 2
    assert told(ann.fill_in(f"{S}/rollback", {**stale, "expect": "2"})) == "rolled-back"
    assert champion(manual) == 0
    assert "The bare base serves" in words(ann.get(PAGE))


# Who may


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (f"{S}/promote", {"version": "1", "to": "champion", "expect": "none", "reason": "x"}),
        (f"{S}/promote", {}),
        (f"{S}/promote", {"version": "1", "to": "candidate", "expect": "none", "reason": "x"}),
        (f"{S}/rollback", {"expect": "none", "reason": "x"}),
        (f"{S}/rollback", {}),
        (f"{S}/gate", {"version": "1"}),
        (f"{S}/freeze", {"until": "2999-01-01T00:00", "reason": "x"}),
        (f"{S}/freeze", {}),
        (f"{S}/thaw", {"reason": "x"}),
    ],
)
def test_a_viewer_decides_nothing_and_is_told_why(
    manual: Registry, path: str, fields: dict[str, str]
) -> None:
    refused = as_(manual, "viewer").fill_in(path, fields)
    assert refused.status_code == 403
    assert "viewer is a viewer" in words(refused)
    assert Desk(manual, VIEWER).log("assistant") == ()


def test_who_may_not_sees_why_instead_of_a_button(manual: Registry) -> None:
    page = as_(manual, "viewer").get(PAGE)
    main = page.text.partition("<main")[2]
    assert "<button" not in re.sub(r'<form method="get".*?</form>', "", main, flags=re.S)
    assert "to promote takes promoter or admin" in words(page)
    assert "to rollback takes" not in words(page)  # nothing serves: that is why


def test_a_trainer_cannot_promote_by_the_form_nor_behind_it(manual: Registry) -> None:
    tom = as_(manual, "trainer")
    assert 'value="champion"' not in tom.get(PAGE).text
    sent = {"version": "4", "to": "champion", "expect": "none", "reason": "it is mine"}
    refused = tom.fill_in(f"{S}/promote", sent)
    assert (refused.status_code, champion(manual)) == (403, None)
    assert "it is mine" in refused.text or "to promote takes" in words(refused)


def test_a_trainer_may_ask_where_a_second_person_decides(asking: Registry) -> None:
    tom = as_(asking, "trainer")
    assert "Ask for it to serve" in words(tom.get(PAGE))
    assert told(promote(tom)) == "requested"
    assert champion(asking) is None


def test_nobody_approves_his_own_request(asking: Registry) -> None:
    ada = as_(asking, ADMIN)
    assert told(promote(ada, version="1")) == "requested"
    page = words(ada.get(PAGE))
    assert "You asked for it: approving takes somebody else." in page
    assert "Approve and apply" not in page
    refused = answer(ada, 1, "approve", "fine by me")
    assert (refused.status_code, champion(asking)) == (409, None)
    assert "takes somebody else" in words(refused)
    assert "fine by me" in refused.text
    assert 'aria-current="page">Promotions' in refused.text  # the sequence's page, not the form's
    assert told(answer(ada, 1, "reject", "never mind")) == "rejected"  # who asked may withdraw


def test_a_request_whose_champion_moved_says_that_it_would_fail(asking: Registry) -> None:
    ann, ben = as_(asking, ASKER), as_(asking, APPROVER)
    promote(ann, version="1")
    promote(ann, version="2")
    answer(ben, 1, "approve", "yes")
    assert "approving this would fail" in words(ben.get(PAGE))
    refused = answer(ben, 2, "approve", "yes too")
    assert (refused.status_code, champion(asking)) == (409, 1)
    said = words(refused)
    assert "What serves has moved since you looked." in said
    assert "Request 2 was ended: champion: moved: assistant/2 was judged while" in said
    assert "nothing was changed" not in said
    assert "You typed: yes too" in said
    again = words(answer(ben, 2, "approve", "once more"))
    assert "Not done. approval: promotion 2 waits no more: it is failed" in again
    assert "You typed: once more" in again
    assert "assistant/1 serves, on the word of promoter , approved by reviewer" in again


def test_a_refusal_stands_at_the_top_one_line_a_rule_and_leads_to_its_form(
    manual: Registry,
) -> None:
    ann = as_(manual, ASKER)
    spoil(manual, 4)
    spoil(manual, 4, "t02")
    refused = promote(ann, "the words I typed", version="4")
    banner = refused.text.partition('id="refused"')[2].partition("</div>")[0]
    rules = re.findall("<li>(.*?)</li>", banner, re.S)
    named = [re.findall('title="([^"]*)"', each) for each in rules]
    assert ["forgetting:t01"] in named
    assert ["forgetting:t02"] in named
    assert all(len(each) == 1 for each in named)
    assert 'href="#promote"' in banner
    assert 'id="promote"' in refused.text
    beside = refused.text.partition('id="promote"')[2].partition("<form")[0]
    assert "100.0%" not in beside
    assert "the words I typed" in refused.text
    assert "Not done" not in words(ann.get(f"{PAGE}?at=yesterday"))


def test_tasks_that_would_fall_back_stand_in_the_table(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="4")
    page = words(ann.get(f"{PAGE}?version=2"))
    assert (
        "2 tasks that assistant/4 serves are not in assistant/2: were it to serve,"
        " they would fall back to the bare base." in page
    )
    row = page.partition("t03 not in assistant/2 assistant/4 100.0")[2]
    assert "after: the bare base" in row.partition("t04")[0]
    assert "would fall back" not in words(ann.get(f"{PAGE}?version=4"))


def test_the_tile_says_what_a_rollback_goes_to(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="1")
    promote(ann, version="2")
    assert "Rollback goes to assistant/1 t01" in words(ann.get(PAGE))
    ann.fill_in(f"{S}/rollback", {"to_version": "previous", "expect": "2", "reason": "off"})
    assert (
        "Rollback goes to nothing nothing served before assistant/1 was put there;"
        " what served since is offered below" in words(ann.get(PAGE))
    )


@pytest.mark.parametrize(
    "path", [f"{S}/promote", f"{S}/rollback", f"{S}/freeze", f"{S}/thaw", "/promotions/1/approve"]
)
def test_every_decision_takes_a_reason(asking: Registry, path: str) -> None:
    ada = as_(asking, ADMIN)
    Desk(asking, ANN).promote("assistant", 1, reason="first")
    Desk(asking, BEN).freeze("assistant", now() + timedelta(days=1), "release week")
    before = len(Desk(asking, VIEWER).log("assistant"))
    fields = {"version": "1", "to": "champion", "expect": "none", "until": "2999-01-01T00:00"}
    refused = ada.fill_in(path, {**fields, "reason": "  "})
    assert refused.status_code == 400
    assert "reason is empty" in words(refused)
    assert len(Desk(asking, VIEWER).log("assistant")) == before


def test_a_form_without_its_secret_decides_nothing(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    sent = {"version": "1", "to": "champion", "expect": "none", "reason": "x"}
    for csrf in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
        assert ann.send(f"{S}/promote", {**sent, **csrf}).status_code == 403
    foreign = ann.fill_in(f"{S}/promote", sent, origin="http://elsewhere.example")
    assert (foreign.status_code, champion(manual)) == (403, None)


def test_the_owner_of_the_files_promotes_after_signing_in_with_the_printed_token(
    home: Path, homes: Learned
) -> None:
    homes.into(home, 4)
    secret = new_secret()
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        person = Person(add_pages(make_app(registry, token=secret, errands=False)))
        assert "Sign in first" in words(person.get(PAGE))
        assert person.send("/sign-in", {"token": secret}).status_code == 303
        assert told(promote(person, version="1")) == "promoted"


# Freezes, the gate, waivers


def test_a_freeze_refuses_promotions_and_no_rollback(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    until = {"until": "2999-01-01T12:00", "reason": "release week"}
    assert told(ann.fill_in(f"{S}/freeze", until)) == "frozen"
    assert "Frozen until 2999-01-01 12:00 UTC by promoter : release week" in words(ann.get(PAGE))
    assert promote(ann, version="3").status_code == 409
    back = {"expect": "2", "to_version": "1", "reason": "worse"}
    assert told(ann.fill_in(f"{S}/rollback", back)) == "rolled-back"
    assert told(ann.fill_in(f"{S}/thaw", {"reason": "over"})) == "thawed"
    history = words(ann.get(f"{PAGE}?only=log")).partition("History")[2]
    assert "thawed by promoter over" in history
    assert "frozen by promoter" in history
    assert "Promotion 1" not in history


def test_a_time_that_is_none_is_refused_and_kept(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for until in ("soon", "", "2026-13-01T00:00", "1999-01-01T00:00", "9999-12-31T23:59"):
        refused = ann.fill_in(f"{S}/freeze", {"until": until, "reason": "kept words"})
        assert refused.status_code == 400
        assert "kept words" in refused.text


def test_looking_judges_nothing_and_the_button_does(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    assert "It was never judged" in words(ann.get(PAGE))
    assert reports(manual) == 0
    sent = ann.fill_in(f"{S}/gate", {"version": "2"})
    assert told(sent) == "judged"
    page = ann.get(sent.headers["location"])
    assert "The gate on assistant/2 passed" in words(page)
    assert reports(manual) == 1
    assert "every file, row and certificate is as it was filed" in words(page)


def reports(registry: Registry) -> int:
    with registry._database.reading() as session:
        return int(session.query(ReportRow).count())


def test_a_report_on_another_champion_says_that_it_may_not_stand(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    promote(ann, version="1")
    page = words(ann.get(f"{PAGE}?version=4"))
    assert "it was judged while nothing served, and version 1 serves now" in page
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert brief.stale == ("it was judged while nothing served, and version 1 serves now",)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert brief.stale == ()


def test_the_count_of_rules_that_refuse_is_the_true_one(
    manual: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence_head, "REFUSING", 1)
    spoil(manual, 4)
    spoil(manual, 4, "t02")
    report = Desk(manual, ANN).gate("assistant", 4)
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert len(brief.refusing) == 1
    assert brief.refusals == sum(not rule.ok for rule in report.rules) > 1


def test_what_refuses_comes_first_with_the_sentence_why_and_waivers(manual: Registry) -> None:
    spoil(manual, 4)
    spoil(manual, 4, "t02")
    ann = as_(manual, ASKER)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    Desk(manual, ANN).waive(
        "assistant", 4, "forgetting:t02", "t02 is retired next week", now() + timedelta(days=3)
    )
    view = promotion_view(manual, "assistant", VIEWER, version=4)
    assert view.report is not None
    refusing = [rule.rule for rule in view.report.rules if not rule.ok]
    assert [rule.rule for rule in view.report.rules][: len(refusing)] == refusing
    assert {"forgetting:t01", "forgetting:t02"} <= set(refusing)
    page = words(ann.get(f"{PAGE}?version=4"))
    assert "100.0% → 0.0% on 60 rows" in page
    assert "t02 is retired next week" in page
    assert "waits forgetting:t02" in page


def test_underpowered_tells_the_rows_it_would_need(home: Path, tmp_path: Path) -> None:
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "files", 2)
        give_passwords(registry)
        cell = measured(registry, "assistant", 2, "t01", "inherited", score=1)
        registry.record_cell(
            replace(cell, effective_digest=sha256_json("anew"), key=sha256_json("anew"))
        )  # 60 of 60 both times, by another adapter: 60 rows cannot exclude a drop of two points
        ann = as_(registry, ASKER)
        ann.fill_in(f"{S}/gate", {"version": "2"})
        view = promotion_view(registry, "assistant", VIEWER, version=2)
        assert view.report is not None
        rule = next(each for each in view.report.rules if each.rule == "forgetting:t01")
        assert (rule.verdict, rule.n) == ("underpowered", 60)
        assert rule.needed is not None
        assert rule.needed > 60
        assert f"needs {rule.needed}" in words(ann.get(f"{PAGE}?version=2"))


def test_each_task_stands_beside_what_answers_for_it_now(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="2")
    promote(ann, version="4", to="candidate")
    view = promotion_view(manual, "assistant", VIEWER)
    assert [(b.difference.task, b.before, b.difference.how) for b in view.beside] == [
        ("t01", "assistant/2", "proved"),
        ("t02", "assistant/2", "proved"),
        ("t03", "the bare base", "paired"),
        ("t04", "the bare base", "paired"),
    ]
    new = view.beside[2]
    assert new.difference.change is not None
    assert new.difference.change.value == 1.0
    assert [rule.rule for rule in new.verdicts] == [
        "forgetting:t03", "learning:t03", "plasticity:t03",
    ]  # fmt: skip


# The past, and the log


def test_what_served_then_on_whose_word_on_what_evidence(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    times = []
    for version, reason in (("1", "the first"), ("2", "the second")):
        promote(ann, reason, version=version)
        times.append(Desk(manual, VIEWER).history("assistant", last=1)[0].applied_at)
    assert times[0] is not None
    at = times[0].isoformat().replace("+", "%2B")
    page = words(ann.get(f"{PAGE}?at={at}"))
    then = page.partition("What served on")[2]
    assert "UTC: assistant/1 (t01)" in then
    assert "asked by promoter" in then
    assert "the first" in then
    assert "gate report 1 , passed" in then
    assert "the second" not in then.partition("The log")[0]
    assert "nothing served" in words(ann.get(f"{PAGE}?at=2020-01-01T12:00"))
    wrong = ann.get(f"{PAGE}?at=yesterday")
    assert wrong.status_code == 400
    assert 'value="yesterday"' in wrong.text


def test_a_log_that_was_edited_is_told_with_the_position(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="1")
    with manual._database.writing() as session:
        session.execute(text("DROP TRIGGER promotion_events_refuses_update"))
        session.execute(text("UPDATE promotion_events SET actor = 'eve' WHERE position = 2"))
    page = ann.get(PAGE)
    assert page.status_code == 200
    assert "position 2: edited or moved (applying by eve)" in words(page)
    assert "Log of decisions broken" in words(page)


def test_a_promotion_that_was_deleted_leaves_the_page_readable(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="1")
    with closing(sqlite3.connect(manual._database.place)) as store, store:  # keys are not enforced
        store.execute("DROP TRIGGER promotions_refuses_delete")
        store.execute("DELETE FROM promotions")
    page = ann.get(f"{PAGE}?at=2999-01-01T00:00")
    assert page.status_code == 200
    assert "What serves is version 1, by the log alone" in words(page)
    assert "UTC: version 1, by the log alone (t01)" in words(page)
    assert "The promotion that put it there was deleted" in words(page)
    assert "version 1, by the log alone" in words(ann.get("/"))
    assert "version 1, by the log alone" in words(ann.get(f"{S}/versions"))
    head = sequence_view(manual, "assistant").head
    assert (head.champion, head.logged_champion) == (None, 1)
    assert head.fault is not None


def test_where_nothing_served_no_server_is_said_to_hold_it(manual: Registry) -> None:
    Desk(manual, ANN).confirm("assistant", 1, "t01", "inherited", "ab" * 32, "gpu-1", now())
    view = promotion_view(manual, "assistant", VIEWER, at=now())
    assert view.then is not None
    assert view.then.serving.version is None
    assert view.then.words.total == len(view.then.words.confirmations) == 0
    assert view.words.total == 1


def test_a_report_is_there_at_a_time_before_the_promotion_that_stands_on_it(
    asking: Registry,
) -> None:
    promote(as_(asking, ASKER), version="1")
    with asking._database.reading() as session:
        owner = known_sequence(session, "assistant")
        report, made = session.execute(
            select(ReportRow.created, PromotionRow.created).join(
                PromotionRow, PromotionRow.report_id == ReportRow.id
            )
        ).one()
        assert report < made
        then = timeline(session, owner, at=report).happenings
        later = timeline(session, owner, at=made).happenings
    assert [each.judged is not None for each in then] == [True]
    assert [each.promotion is not None for each in later] == [True]


def test_what_a_server_holds_is_told_beside_what_is_designated(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    desk = Desk(manual, ANN)
    for version in (1, 2, 1):  # the last word counts: it went back by itself
        desk.confirm("assistant", version, "t01", "inherited", "ab" * 32, "gpu-1", now())
    view = promotion_view(manual, "assistant", VIEWER)
    assert [(c.host, c.version, c.matches) for c in view.words.confirmations] == [
        ("gpu-1", 1, False)
    ]
    page = words(ann.get(PAGE))
    assert "gpu-1 t01 assistant/1 not what is designated" in page
    assert "unknown to us" in page


def test_text_of_strangers_is_text(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, '<script>alert("x")</script>', version="1")
    assert "<script>alert" not in ann.get(PAGE).text


def test_the_twin_says_what_the_page_shows(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="2")
    twin = ann.client.get(API, headers={"accept": "application/json"}).json()
    view = promotion_view(manual, "assistant", Actor(name=ASKER, role="promoter", account=True))
    assert twin["champion"]["version"] == view.champion.version == 2
    assert twin["chain"]["head"] == view.chain.head
    assert twin["report"] == (None if view.report is None else twin["report"])
    assert [h["promotion"]["id"] for h in twin["history"]["happenings"]] == [1]
    assert len(twin["beside"]) == 4


@pytest.mark.parametrize(
    "query", ["version=9", "version=0", "version=x", "report=77", "page=0", "only=best"]
)
def test_what_is_not_there_is_no_page(manual: Registry, query: str) -> None:
    assert as_(manual, "viewer").get(f"{PAGE}?{query}").status_code in {400, 404}


# How much it costs


def long_history(registry: Registry, moves: int) -> None:
    """Promotions there and back, as the desk would have written them, with reports between."""
    with registry._database.writing() as session:
        owner = known_sequence(session, "assistant")
        policy = session.execute(text("SELECT id FROM gate_policies")).scalar_one()
        for number in range(moves):
            row = PromotionRow(
                sequence_id=owner.id, kind="promote", alias="champion",
                from_version=1 + number % 2, to_version=2 - number % 2, requested_by="ann",
                reason=f"move {number}", expected=None, report_id=None, created=now(),
            )  # fmt: skip
            row.facts_sha256 = facts_hash("assistant", row, None)
            session.add(row)
            session.flush()
            for kind in ("requested", "applying", "applied"):
                append(session, owner, kind, "ann", {"to_version": row.to_version}, row)  # type: ignore[arg-type]
            document = {"rules": [], "test_uses": {}}
            session.add(
                ReportRow(
                    sequence_id=owner.id, number=1, policy_id=policy, champion=None, ok=True,
                    document=document, sha256=sha256_json(document), tests={}, created=now(),
                    created_by="ann",
                )
            )  # fmt: skip
            append(session, owner, "frozen", "ann", {"until": now().isoformat(), "reason": "x"})


def test_the_number_of_queries_does_not_grow_with_the_history(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    counts = []
    for moves in (2, 1000):
        long_history(manual, moves)
        with counted(manual) as sent:
            page = ann.get(f"{PAGE}?at=2999-01-01T00:00")
        assert page.status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1]
    view = promotion_view(manual, "assistant", VIEWER, page=3)
    assert (view.history.total, len(view.history.happenings)) == (2 + 3 * 1002, 25)
    assert view.chain.length == 6 + 4 * 1002
    last = promotion_view(manual, "assistant", VIEWER, page=10**6).history
    assert last.page == -(-last.total // 25)
    assert last.happenings[-1].promotion is not None
    assert last.happenings[-1].promotion.id == 1


def test_the_number_of_queries_does_not_grow_with_versions(home: Path, tmp_path: Path) -> None:
    counts = []
    for many in (3, 12):
        place = home / str(many)
        with open_registry(
            place, artifacts=HomeArtifacts(place), aliases=FakeAliases()
        ) as registry:
            learn(registry, tmp_path / f"files-{many}", many)
            give_passwords(registry)
            ann = as_(registry, ASKER)
            promote(ann, version="1")
            ann.fill_in(f"{S}/gate", {"version": str(many)})
            assert policy_of(registry, "assistant").version == 1
            with counted(registry) as sent:
                page = ann.get(PAGE)
            assert page.text.count('scope="row"') > many
            counts.append(len(sent))
    assert counts[0] == counts[1]


# The bundle of evidence


@pytest.mark.parametrize("ended", [0, 1])
def test_the_evidence_is_what_the_command_writes_of_a_broken_version_too(
    manual: Registry, tmp_path: Path, ended: int
) -> None:
    script = tmp_path / "evidence.py"
    script.write_text(
        "import pathlib, sys\n"
        "assert sys.argv[1:3] == ['assistant/2', '--asked-by=viewer']\n"
        "to = pathlib.Path(sys.argv[sys.argv.index('--to') + 1])\n"
        f"to.mkdir(); (to / 'bundle.json').write_text('{{}}'); sys.exit({ended})\n"
    )
    app = add_pages(make_app(manual, token=None, errands=False))
    app.state.downloads = Downloads(manual.settings.home, evidence=(sys.executable, str(script)))
    person = Person(app)
    person.sign_in("viewer")
    found = person.get(f"{S}/versions/2/evidence.zip")
    assert found.status_code == 200
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        assert archive.namelist() == ["evidence-assistant-2/bundle.json"]
    assert person.get(f"{S}/versions/9/evidence.zip").status_code == 404
