"""The corridor's end on sequences that were really learned: judged, nominated, promoted as allowed."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from tests.flows.conftest import Lab
from tests.flows.tiny import write_sequence
from tests.made_once import copy_prefect_store

pytestmark = pytest.mark.slow

WARN = "gate: {underpowered: warn}"
"""Sixteen test rows bound no drop of three points; these tests are about what follows."""


def json_of(lab: Lab, *arguments: str) -> list[dict[str, object]]:
    answer = lab.lori(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, object]] = json.loads(answer.stdout)
    return found


def test_every_version_was_judged_and_nothing_serves_by_itself(learned_once: Lab) -> None:
    versions = json_of(learned_once, "versions", "tiny")
    gates = [each["gate"] for each in versions]
    assert all(gate is not None for gate in gates)
    (standing,) = json_of(learned_once, "status", "tiny")
    assert (standing["champion"], standing["previous"]) == (None, None)
    passed = [k for k, gate in enumerate(gates, start=1) if gate["ok"]]  # type: ignore[index]
    assert standing["candidate"] == (passed[-1] if passed else None)


def test_a_changed_gate_is_recorded_and_said_once(learned: Lab) -> None:
    learned.file.write_text(learned.file.read_text() + f"{WARN}\n")
    answer = learned.lori("run", learned.file)
    assert answer.returncode == 0, answer.stderr
    first, last = answer.stdout.splitlines()
    assert first.startswith("gate.underpowered changed: recorded, and the next gate goes by it.")
    assert "nothing to do" in last
    again = learned.lori("run", learned.file)
    assert again.stdout.splitlines() == [last]
    assert learned.lori("gate", "tiny").returncode == 0
    promoted = learned.lori("promote", "tiny", "--reason", "all learned")
    assert promoted.returncode == 0, promoted.stderr
    assert "tiny@champion is tiny/3" in promoted.stdout
    verified = learned.lori("verify", "tiny@champion")
    assert verified.returncode == 0, verified.stderr
    assert "tiny/3" in verified.stdout
    assert "tiny/2" not in verified.stdout
    back = learned.lori("promote", "tiny/3", "--reason", "again")
    assert re.search(r"probes of tiny/3: last recomputed \S+ \S+, all as certified", back.stdout)


def test_a_changed_promotion_says_from_when_on_it_counts(learned: Lab) -> None:
    learned.file.write_text(learned.file.read_text() + "promotion: auto\n")
    answer = learned.lori("run", learned.file)
    first, last = answer.stdout.splitlines()
    assert first == (
        "promotion changed: recorded. Whether a second person must approve goes by it from the next "
        "`lori promote` on; what `lori run` does by itself, from the next version on."
    )
    assert "nothing to do" in last


def test_checking_a_file_takes_over_none_of_its_settings(learned: Lab) -> None:
    learned.file.write_text(learned.file.read_text() + f"{WARN}\n")
    assert learned.lori("check", learned.file).returncode == 0
    assert "gate.underpowered changed" in learned.lori("run", learned.file).stdout


def test_a_new_guard_names_the_cells_it_lacks_and_evaluate_scores_them(learned: Lab) -> None:
    text = learned.file.read_text().replace("guards: [color]", "guards: [color, size]")
    learned.file.write_text(f"{text}{WARN}\n")
    answer = learned.lori("run", learned.file)
    assert "guards changed" in answer.stdout.replace("gate.underpowered, ", "")
    assert "size under color at tiny/3 (inherited)" in answer.stdout
    assert "size under animal at tiny/3 (inherited)" in answer.stdout
    refused = learned.lori("gate", "tiny")
    assert refused.returncode == 1
    assert "cells (fail)" in refused.stderr
    assert learned.lori("evaluate", "tiny", "--read", "inherited").returncode == 0
    assert "cells (fail)" not in learned.lori("gate", "tiny").stderr


def test_a_version_that_a_killed_run_left_undecided_is_decided_on_by_the_next(
    learned: Lab,
) -> None:
    forget_decisions(learned.home)
    answer = learned.lori("run", learned.file)
    assert answer.returncode == 0, answer.stderr
    assert "tiny/3" in answer.stdout.splitlines()[0]
    assert "nothing to do" in answer.stdout.splitlines()[-1]
    assert json_of(learned, "versions", "tiny")[2]["gate"] is not None
    assert len(learned.lori("run", learned.file).stdout.splitlines()) == 1


def forget_decisions(home: Path) -> None:
    """As if the run had been killed between filing and the gate: no report, no promotion, no log."""
    with sqlite3.connect(home / "registry.db") as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        for table in (
            "promotion_events", "promotions", "gate_test_uses", "gate_reports", "gate_policies",
        ):  # fmt: skip
            database.execute(f"DELETE FROM {table}")
    for anchor in (home / "anchors").glob("*.json"):
        anchor.unlink()
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("DELETE FROM registered_model_tags WHERE key LIKE 'lori.log%'")
        database.execute("DELETE FROM registered_model_aliases")


@pytest.mark.parametrize(
    ("promotion", "told", "champion"),
    [("auto", "tiny@champion is tiny/1", 1), ("approval", "waits for a second person", None)],
)
def test_run_promotes_as_far_as_the_sequence_file_allows(
    tmp_path: Path, prefect_store: Path, promotion: str, told: str, champion: int | None
) -> None:
    write_sequence(tmp_path, ("color",), more=f"promotion: {promotion}\n{WARN}")
    lab = Lab(tmp_path)
    copy_prefect_store(prefect_store, lab.home)
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 0, answer.stderr
    assert told in answer.stdout + answer.stderr
    (standing,) = json_of(lab, "status", "tiny")
    assert (standing["champion"], standing["candidate"]) == (champion, 1)
    assert len(json_of(lab, "pending", "tiny")) == (promotion == "approval")
    assert len(lab.lori("run", lab.file).stdout.splitlines()) == 1
