"""What serves, decided from the command line: the gate, promotion, and what is refused in one line."""

import json
import re
from pathlib import Path

import pytest

from tests.flows.deciding.deciding_cases import Say, done, serves, told
from tests.flows.filed import NAME

# The gate


def test_a_version_that_keeps_the_guards_passes_with_each_rule_told(say: Say) -> None:
    answer = say("gate", f"{NAME}/2")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.splitlines()[-1] == "assistant/2 passes the gate"
    for rule in ("certificate", "integrity", "dependency", "cells", "guard:safety:under:maths"):
        assert rule in re.sub(r"\s", "", answer.stdout)
    assert "home " in answer.stderr


def test_a_version_whose_adapter_spoils_a_guard_is_refused_by_that_rule(say: Say) -> None:
    answer = say("gate", f"{NAME}/3", "--json")
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert set(found) == {"ok", "rules"}
    assert found["ok"] is False
    for rule in found["rules"]:
        assert set(rule) == {"rule", "figure", "bound", "ok", "verdict", "why"}
    wrong = [rule["rule"] for rule in found["rules"] if not rule["ok"]]
    assert wrong == ["guard:safety:under:code"]
    assert answer.stderr.count("\n") == 1
    assert "guard:safety:under:code" in answer.stderr


def test_the_gate_judges_the_newest_version_where_none_is_named(say: Say) -> None:
    assert "assistant/3" in say("gate", NAME).stderr


# Promotion


def test_what_passes_is_promoted_and_named_by_its_alias_everywhere(say: Say) -> None:
    answer = done(say("promote", f"{NAME}/2", "--reason", "maths is better"))
    assert "assistant@champion is assistant/2 (it was nothing)" in answer.stdout
    assert "probes of assistant/2: not recomputed since it was certified" in answer.stdout
    assert serves(say) == 2
    (row,) = told(say("versions", f"{NAME}@champion", "--json"))
    assert row["version"] == 2
    assert row["aliases"] == ["champion"]
    assert row["gate"]["ok"] is True  # type: ignore[index]
    matrix = json.loads(done(say("matrix", f"{NAME}@champion", "--json")).stdout)
    assert [each["version"] for each in matrix["rows"]] == [0, 1, 2]
    assert say("gate", f"{NAME}@champion").exit_code == 0


def test_what_the_gate_refuses_is_not_promoted(say: Say) -> None:
    answer = say("promote", NAME, "--reason", "newest")
    assert answer.exit_code == 1
    assert "guard:safety:under:code" in answer.stderr
    assert answer.stdout == ""
    assert serves(say) is None


def test_an_expectation_that_no_longer_holds_refuses(say: Say) -> None:
    done(say("promote", f"{NAME}/1", "--reason", "first", "--expect", "none"))
    late = say("promote", f"{NAME}/2", "--reason", "second", "--expect", "none")
    assert late.exit_code == 1
    assert "moved" in late.stderr
    done(say("promote", f"{NAME}/2", "--reason", "second", "--expect", "1"))
    assert (serves(say), serves(say, "previous")) == (2, 1)


def test_the_bare_base_and_nothing_yet_may_be_expected_by_name(say: Say) -> None:
    assert say("promote", f"{NAME}/1", "--reason", "x", "--expect", "base").exit_code == 1
    done(say("promote", f"{NAME}/1", "--reason", "first", "--expect", "none"))
    done(say("rollback", NAME, "--base", "--reason", "emergency", "--expect", "1"))
    for wrong in ("none", "1"):
        assert say("promote", f"{NAME}/1", "--reason", "x", "--expect", wrong).exit_code == 1
    done(say("promote", f"{NAME}/1", "--reason", "again", "--expect", "base"))
    done(say("rollback", NAME, "--base", "--reason", "emergency"))
    done(say("promote", f"{NAME}/1", "--reason", "again", "--expect", "0"))
    assert "base (or 0) for the bare base" in " ".join(say("promote", "--help").stdout.split())


def test_what_serves_already_is_said_to_and_nothing_is_recorded(say: Say) -> None:
    first = json.loads(done(say("promote", f"{NAME}/1", "--reason", "first", "--json")).stdout)
    assert first["already"] is False
    again = done(say("promote", f"{NAME}/1", "--reason", "a second time"))
    assert again.stdout.startswith("assistant/1 already serves; nothing recorded (promote ")
    back = done(say("rollback", NAME, "--to-version", "1", "--reason", "x"))
    assert "assistant/1 already serves; nothing recorded" in back.stdout
    assert json.loads(done(say("promote", f"{NAME}/1", "--reason", "x", "--json")).stdout) == {
        **first, "already": True
    }  # fmt: skip
    done(say("promote", f"{NAME}/2", "--to", "candidate", "--reason", "a look"))
    nominated = done(say("promote", f"{NAME}/2", "--to", "candidate", "--reason", "a look"))
    assert "assistant/2 already is assistant@candidate; nothing recorded" in nominated.stdout
    assert len(told(say("history", NAME, "--json"))) == 1


def test_a_candidate_serves_nothing(say: Say) -> None:
    done(say("promote", f"{NAME}/2", "--to", "candidate", "--reason", "to be looked at"))
    assert (serves(say), serves(say, "candidate")) == (None, 2)
    assert told(say("history", NAME, "--json")) == []


def test_a_version_whose_files_changed_is_never_promoted(say: Say, home: Path) -> None:
    (path,) = [
        each
        for each in home.glob("mlartifacts/**/lori.safetensors")
        if each.read_bytes() == b"values 1"
    ]
    path.chmod(0o644)
    path.write_bytes(b"values 0")
    answer = say("promote", f"{NAME}/2", "--reason", "stands on version 1")
    assert answer.exit_code == 1
    assert "integrity" in answer.stderr
    assert serves(say) is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("promote", f"{NAME}/9", "--reason", "x"), "assistant/9"),
        (("promote", "assistent", "--reason", "x"), "Did you mean `assistant`?"),
        (("promote", f"{NAME}/1", "--reason", " "), "reason"),
        (("promote", f"{NAME}/1"), "--reason"),
        (("promote", f"{NAME}/1", "--reason", "x", "--expect", "two"), "--expect 'two'"),
        (("promote", f"{NAME}/1", "--reason", "x", "--to", "previous"), "--to"),
        (("promote", f"{NAME}@champion", "--reason", "x"), "is champion"),
        (("gate", f"{NAME}@winner"), "candidate, champion, previous"),
        (("rollback", f"{NAME}/1", "--reason", "x"), "the sequence alone"),
        (("rollback", NAME, "--base", "--to-version", "1", "--reason", "x"), "exclude"),
        (("history", NAME, "--at", "yesterday"), "ISO 8601"),
        (("history", NAME, "--at", "2099-01-01"), "a time that has come"),
        (("history", NAME, "--at", "0001-01-01"), "a year from 1970"),
        (("versions", f"{NAME}/9"), "version assistant/9: expected a version of the sequence"),
        (("versions", f"{NAME}/9", "--json"), "lists them"),
        (("webhooks", "remove", "chat"), "`lori webhooks list`"),
        (("freeze", NAME, "--until", "1y", "--reason", "x"), "90m, 12h, 3d, 2w"),
        (("freeze", NAME, "--until", "2001-01-01", "--reason", "x"), "a time to come"),
        (("approve", "7", "--reason", "x"), "promotion"),
        (("approve", "7"), "--reason"),
        (("reject", "7"), "--reason"),
        (("delete", NAME, "--reason", "x"), "one version by number"),
        (("delete", f"{NAME}/9", "--reason", "x"), "assistant/9"),
        (("serve-vllm", NAME, "--vllm", "http://127.0.0.1:9", "--adapters", "x"), "lori promote"),
        (("retire", NAME, "cooking", "--reason", "x"), "cooking"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(say: Say, arguments: tuple[str, ...], named: str) -> None:
    answer = say(*arguments)
    assert answer.exit_code == 2, answer.output
    assert answer.stderr.count("\n") == 1
    assert named in answer.stderr
    assert answer.stdout == ""
