"""What served, told from the command line; the way back, and what holds a sequence back."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from registry.accounts import owner
from registry.desk import Desk
from registry.store import open_registry
from tests.flows.deciding.deciding_cases import Say, done, serves, told
from tests.flows.filed import NAME

TOLD = {
    "id", "kind", "alias", "from_version", "to_version", "status", "requested_by", "approved_by",
    "reason", "applied_at", "report_id", "report_sha256", "confirmations",
}  # fmt: skip


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


def test_a_task_is_retired_once(say: Say) -> None:
    done(say("retire", NAME, "maths", "--reason", "moved elsewhere"))
    assert say("retire", NAME, "maths", "--reason", "again").exit_code == 1
