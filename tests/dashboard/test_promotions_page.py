"""Deciding on the promotions page, as people do: through its forms, over HTTP, without a script."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import ANN, BEN, HomeArtifacts, Learned
from fake_aliases import FakeAliases
from people import Person, add_pages
from promotion_visits import (
    ADMIN,
    APPROVER,
    ASKER,
    PAGE,
    VIEWER,
    S,
    answer,
    as_,
    champion,
    hidden,
    promote,
    spoil,
    told,
    words,
)

from dashboard.app import make_app
from dashboard.once import COOKIE as TOLD
from registry.accounts import new_secret
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry, open_registry

pytestmark = pytest.mark.usefixtures("cheap_passwords")


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
    for word in ("promoted", "rolled-back", "approved", "frozen", "<b>x"):
        assert 'class="told good"' not in ann.get(PAGE, {"told": word}).text
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


# Freezes


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
