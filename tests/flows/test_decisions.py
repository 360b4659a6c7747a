"""What serves, decided from the command line: a real registry and MLflow store, nothing trained."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import lori
from registry.accounts import Accounts, owner
from registry.aliases import AliasStore
from registry.desk import Desk
from registry.store import open_registry
from tests.flows.conftest import ROOT
from tests.flows.filed import NAME, declare, make_home

Say = Callable[..., Result]
TOLD = {
    "id", "kind", "alias", "from_version", "to_version", "status", "requested_by", "approved_by",
    "reason", "applied_at", "report_id", "report_sha256", "confirmations",
}  # fmt: skip


@pytest.fixture(scope="session")
def filed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, filed; do not change anything there."""
    return make_home(tmp_path_factory.mktemp("filed") / "home")


@pytest.fixture
def home(filed_once: Path, tmp_path: Path) -> Path:
    """A copy of it, to decide about."""
    return Path(shutil.copytree(filed_once, tmp_path / "home"))


@pytest.fixture
def say(home: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """The command, at that home."""
    for variable in ("LORI_REGISTRY_URL", "LORI_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LORI_HOME", str(home))

    def run(*arguments: object, token: str | None = None) -> Result:
        answer = CliRunner().invoke(
            lori, [str(each) for each in arguments], env={"LORI_TOKEN": token}
        )
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer

    return run


def done(answer: Result) -> Result:
    assert answer.exit_code == 0, answer.output
    return answer


def told(answer: Result) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(done(answer).stdout)
    return found


def serves(say: Say, alias: str = "champion") -> object:
    return json.loads(done(say("status", NAME, "--json")).stdout)[0][alias]


def account(home: Path, name: str, role: str) -> str:
    """A token for a new account."""
    with open_registry(home) as registry:
        book = Accounts(registry, owner())
        book.create(name, role)  # type: ignore[arg-type]
        return book.issue(name, "test").secret


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


# Approval


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


# Rollback and history


def test_history_tells_what_served_then_on_whose_word_and_on_what_evidence(say: Say) -> None:
    before = datetime.now(UTC)
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    between = datetime.now(UTC)
    done(say("promote", f"{NAME}/2", "--reason", "second"))
    rows = told(say("history", NAME, "--json"))
    assert [set(row) for row in rows] == [TOLD, TOLD]
    assert [(r["from_version"], r["to_version"], r["status"]) for r in rows] == [
        (None, 1, "applied"),
        (1, 2, "applied"),
    ]
    then = done(say("history", NAME, "--at", between.isoformat())).stdout
    assert "assistant@champion was assistant/1" in then
    assert "first (promote" in then
    assert re.search(r"gate report \d+, sha256 [0-9a-f]{64}", then)
    assert [r["to_version"] for r in told(say("history", NAME, "--at", between, "--json"))] == [1]
    nothing = done(say("history", NAME, "--at", before.isoformat())).stdout
    assert "assistant@champion was nothing" in nothing


def test_what_servers_confirmed_stands_beside_what_is_designated(say: Say, home: Path) -> None:
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    assert "no server has said what it loaded" in done(say("history", NAME)).stdout
    with open_registry(home) as registry:
        Desk(registry, owner()).confirm(
            NAME, 1, "safety", "inherited", "0" * 64, "gpu-7", datetime.now(UTC)
        )
    assert "gpu-7 loaded assistant/1 safety" in done(say("history", NAME)).stdout
    (row,) = told(say("history", NAME, "--json"))
    (loaded,) = row["confirmations"]  # type: ignore[misc]
    assert (loaded["host"], loaded["matches"]) == ("gpu-7", False)
    for moment in (row["applied_at"], loaded["loaded_at"]):
        assert re.fullmatch(r"20[0-9T:.-]+Z", str(moment))
    report = done(say("history", NAME)).stdout
    assert str(row["report_sha256"]) in report
    done(say("promote", f"{NAME}/2", "--reason", "second"))
    assert "assistant/2 is designated" in done(say("history", NAME)).stdout


def test_rollback_goes_back_and_marks_what_stood_on_it(say: Say) -> None:
    for version in (1, 2):
        done(say("promote", f"{NAME}/{version}", "--reason", "better"))
    answer = done(say("rollback", NAME, "--reason", "complaints"))
    assert "assistant@champion is assistant/1 (it was assistant/2)" in answer.stdout
    assert serves(say) == 1
    rows = told(say("versions", NAME, "--json"))
    assert rows[1]["stale"] is None, "it was rolled back itself, and stands on nothing that was"
    assert "rolled back" in str(rows[2]["stale"])
    assert "is stale" in done(say("status", NAME)).stdout
    assert told(say("history", NAME, "--json"))[-1]["kind"] == "rollback"


def test_the_bare_base_is_one_command_away(say: Say) -> None:
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    answer = done(say("rollback", NAME, "--base", "--reason", "emergency"))
    assert "is the bare base" in answer.stdout
    assert serves(say) == 0
    assert "the bare base" in say("export", f"{NAME}@champion", "maths", "--to", "out").stderr


def test_an_edited_log_is_named_by_its_position(say: Say, home: Path) -> None:
    import sqlite3

    done(say("promote", f"{NAME}/1", "--reason", "first"))
    assert "unbroken" in done(say("history", NAME, "--check")).stdout
    with sqlite3.connect(home / "registry.db") as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE promotion_events SET actor = 'mallory' WHERE position = 2")
    answer = say("history", NAME, "--check", "--json")
    assert answer.exit_code == 1
    assert "position 2" in answer.stderr
    assert len(json.loads(answer.stdout)) == 1


# Holding back


def test_a_frozen_sequence_is_promoted_again_once_thawed(say: Say) -> None:
    done(say("freeze", NAME, "--until", "3d", "--reason", "holidays"))
    answer = say("promote", f"{NAME}/1", "--reason", "now")
    assert answer.exit_code == 1
    assert "holidays" in answer.stderr
    for look in (("status",), ("status", NAME), ("versions", NAME)):
        assert "assistant is frozen until 20" in done(say(*look)).stdout
    (row,) = told(say("status", "--json"))
    assert row["frozen"] == {**row["frozen"], "reason": "holidays"}
    assert set(row["frozen"]) == {"until", "by", "reason"}  # type: ignore[call-overload]
    done(say("thaw", NAME, "--reason", "back"))
    assert "frozen" not in done(say("status")).stdout
    assert told(say("status", "--json"))[0]["frozen"] is None
    done(say("promote", f"{NAME}/1", "--reason", "now"))


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


def test_a_task_is_retired_once(say: Say) -> None:
    done(say("retire", NAME, "maths", "--reason", "moved elsewhere"))
    assert say("retire", NAME, "maths", "--reason", "again").exit_code == 1


# Keeping a registry


def test_doctor_finds_and_mends_an_alias_that_was_moved_by_hand(say: Say, home: Path) -> None:
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    assert "nothing is wrong" in done(say("doctor")).stdout
    with open_registry(home) as registry:
        store: AliasStore = registry.aliases()
        moved = registry.version(NAME, 3).model_version
        assert moved is not None
        store.set_alias(registry.model_name(NAME), "champion", moved)
    found = say("doctor", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["what"] == "alias-drift"
    assert "mended" in done(say("doctor", "--repair")).stdout
    done(say("doctor"))


def test_a_version_that_nothing_needs_is_deleted_and_the_log_says_so(say: Say, home: Path) -> None:
    refused = say("delete", f"{NAME}/2", "--reason", "a mistake")
    assert refused.exit_code == 1
    assert "version 3 was trained on it" in refused.stderr
    done(say("promote", f"{NAME}/2", "--reason", "better"))
    assert "is deleted" in done(say("delete", f"{NAME}/3", "--reason", "unsafe")).stdout
    assert [row["version"] for row in told(say("versions", NAME, "--json"))] == [1, 2]
    served = say("delete", f"{NAME}/2", "--reason", "a mistake")
    assert served.exit_code == 1
    assert "it served" in served.stderr
    with open_registry(home) as registry:
        last = Desk(registry, owner()).log(NAME)[-1]
    assert (last.kind, last.payload["version"], last.payload["reason"]) == ("deleted", 3, "unsafe")
    assert "unbroken" in done(say("history", NAME, "--check")).stdout
    assert "nothing is wrong" in done(say("doctor")).stdout


def test_the_readme_shows_what_the_commands_print(say: Say) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    promoted = done(say("promote", f"{NAME}/2", "--reason", "better")).stdout.splitlines()[0]
    assert f"{promoted.partition(' by ')[0]} by os:anna" in readme
    refused = say("promote", f"{NAME}/3", "--reason", "newest").stderr
    assert refused in readme
    nowhere = say("rollback", NAME, "--reason", "complaints")
    assert "`--base` serves the bare base" in nowhere.stderr, "as the readme says of the first one"


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


def test_webhooks_are_told_until_they_answer(say: Say) -> None:
    done(say("webhooks", "add", "chat", "http://127.0.0.1:9/hook"))
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    listed = json.loads(done(say("webhooks", "list", "--json")).stdout)
    assert [each["name"] for each in listed["webhooks"]] == ["chat"]
    assert listed["waiting"]
    assert say("webhooks", "deliver").exit_code == 1
    done(say("webhooks", "remove", "chat"))
    assert "0 delivered, 0 to be sent again" in done(say("webhooks", "deliver")).stdout


def test_a_server_answers_and_decides_for_commands_elsewhere(say: Say, home: Path) -> None:
    secret = done(say("accounts", "first", "anna")).stdout.strip()
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "dashboard", "--port", "0"],
        env={**os.environ, "LORI_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[1]
        away = {"LORI_REGISTRY_URL": url, "LORI_HOME": str(home.parent / "nowhere")}

        def ask(*arguments: str, token: str | None = secret) -> Result:
            return CliRunner().invoke(lori, list(arguments), env={**away, "LORI_TOKEN": token})

        assert ask("status", token=None).exit_code == 2
        wrong = ask("status", token="lori_" + "x" * 43)
        assert (wrong.exit_code, wrong.stderr.count("expected")) == (2, 1), wrong.stderr
        assert f"token ({url} does not take it: unknown)" in wrong.stderr
        promoted = done(ask("promote", f"{NAME}/2", "--reason", "from afar"))
        assert "assistant@champion is assistant/2" in promoted.stdout
        assert f"registry {url}" in promoted.stderr
        assert told(ask("history", NAME, "--json"))[0]["requested_by"] == "anna"
        (row,) = told(ask("versions", f"{NAME}@champion", "--json"))
        assert (row["version"], "gate" in row) == (2, False)
        assert done(ask("matrix", f"{NAME}@champion")).stdout
        for here_alone in (("verify", NAME), ("doctor",), ("webhooks", "deliver")):  # needs files
            assert ask(*here_alone).exit_code == 2
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert serves(say) == 2


def test_readers_make_no_registry_where_there_is_none(say: Say, home: Path) -> None:
    empty = home.parent / "empty"
    empty.mkdir()
    answer = CliRunner().invoke(lori, ["status"], env={"LORI_HOME": str(empty)})
    assert answer.exit_code == 2
    assert list(empty.iterdir()) == []
