"""Who decides from the command line: a second person, roles, accounts and their tokens."""

import json
from pathlib import Path

import pytest

from registry.store import open_registry
from tests.flows.deciding.deciding_cases import Say, account, done, serves, told
from tests.flows.filed import NAME, declare


@pytest.fixture
def guarded(home: Path) -> Path:
    """The same under `promotion: approval`."""
    with open_registry(home) as registry:
        declare(registry, "approval")
    return home


def test_a_second_person_approves_what_the_first_asked_for(say: Say, guarded: Path) -> None:
    anna, ben = account(guarded, "anna", "promoter"), account(guarded, "ben", "reviewer")
    asked = say("promote", f"{NAME}/2", "--reason", "better", "--json", token=anna)
    assert asked.exit_code == 1, "nothing serves yet"
    request = json.loads(asked.stdout)
    assert request["status"] == "requested"
    assert "lori approve" in asked.stderr
    assert [each["id"] for each in told(say("pending", "--json"))] == [request["id"]]
    assert say("approve", request["id"], "--reason", "mine", token=anna).exit_code == 1
    assert serves(say) is None
    done(say("approve", request["id"], "--reason", "looked at it", token=ben))
    assert serves(say) == 2
    assert told(say("pending", NAME, "--json")) == []
    (row,) = told(say("history", NAME, "--json"))
    assert (row["requested_by"], row["approved_by"]) == ("anna", "ben")


def test_a_request_may_be_turned_down(say: Say, guarded: Path) -> None:
    request = json.loads(say("promote", f"{NAME}/2", "--reason", "better", "--json").stdout)
    ben = account(guarded, "ben", "reviewer")
    assert "nothing waits" not in done(say("pending")).stdout
    done(say("reject", request["id"], "--reason", "not now", token=ben))
    assert serves(say) is None
    assert told(say("history", NAME, "--json"))[0]["status"] == "rejected"
    assert "nothing waits" in done(say("pending")).stdout


def test_a_trainer_cannot_promote(say: Say, home: Path) -> None:
    answer = say("promote", f"{NAME}/2", "--reason", "mine", token=account(home, "tom", "trainer"))
    assert answer.exit_code == 1
    assert "role" in answer.stderr


def test_once_there_are_accounts_who_has_no_token_reads_and_is_told_so_in_one_line(
    say: Say, home: Path
) -> None:
    secret = done(say("accounts", "first", "ada")).stdout.strip()
    for decision in (
        ("promote", f"{NAME}/2", "--reason", "mine"),
        ("accounts", "token", "ada"),
        ("accounts", "add", "eve", "--role", "admin"),
        ("webhooks", "add", "chat", "http://127.0.0.1:9/x"),
        ("delete", f"{NAME}/3", "--reason", "mine"),
        ("doctor", "--repair"),
    ):
        answer = say(*decision)
        assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.output
        assert "LORI_TOKEN" in answer.stderr
    assert say("gate", f"{NAME}/2").exit_code == 0
    for question in (("history", NAME), ("versions", NAME), ("status",), ("pending",)):
        done(say(*question))
    done(say("promote", f"{NAME}/2", "--reason", "better", token=secret))
    assert "ada" in done(say("accounts", "list", token=secret)).stdout


def test_the_first_admin_can_be_made_where_others_were_made_before(say: Say, home: Path) -> None:
    account(home, "vera", "viewer")
    assert say("accounts", "add", "eve", "--role", "admin").exit_code == 1
    secret = done(say("accounts", "first", "ada")).stdout.strip()
    assert say("accounts", "first", "eve").exit_code == 1
    done(say("accounts", "disable", "vera", token=secret))


def test_two_persons_set_a_rule_aside_for_a_time(say: Say, home: Path) -> None:
    anna, ben = account(home, "anna", "promoter"), account(home, "ben", "reviewer")
    rule = "guard:safety:under:code"
    answer = done(
        say("waive", f"{NAME}/3", rule, "--until", "12h", "--reason", "known", token=anna)
    )
    assert "waivers approve" in answer.stdout
    (waiver,) = told(say("waivers", "list", NAME, "--json"))
    alone = say("promote", f"{NAME}/3", "--reason", "x", token=anna)
    assert alone.exit_code == 1, "one person is not enough"
    done(say("waivers", "approve", waiver["id"], "--reason", "agreed", token=ben))
    assert "in force" in done(say("waivers", "list", NAME)).stdout
    done(say("promote", f"{NAME}/3", "--reason", "with a waiver", token=anna))
    assert serves(say) == 3


def test_the_first_account_is_an_admin_who_adds_the_others(say: Say) -> None:
    secret = done(say("accounts", "first", "anna")).stdout.strip()
    assert secret.startswith("lori_")
    assert say("accounts", "first", "otto").exit_code == 1
    added = done(say("accounts", "add", "vera", "--role", "viewer", token=secret)).stdout
    assert added.startswith("vera has the role viewer; `lori accounts token vera`")
    viewer = done(say("accounts", "token", "vera", token=secret)).stdout.strip()
    assert say("accounts", "add", "eve", "--role", "admin", token=viewer).exit_code == 1
    names = [each["name"] for each in told(say("accounts", "list", "--json", token=secret))]
    assert names == ["anna", "vera"]
    done(say("accounts", "disable", "vera", token=secret))
    refused = say("status", token=viewer)
    assert refused.exit_code == 2
    assert viewer not in refused.stderr
    (token,) = told(say("accounts", "tokens", "vera", "--json", token=secret))
    assert viewer not in json.dumps(token)
