"""Whatever is done to the log behind our back is found, with its position, on both databases."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from decision_cases import ANN, HomeArtifacts, Learned
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from registry_examples import declare, sequence_record, version_record
from sqlalchemy import Connection, text

from lori_core.digests import sha256_json
from lori_core.errors import CheckFailed
from registry import clock, ledger
from registry.decision_models import IMMUTABLE, PolicyRow, PromotionRow, ReportRow
from registry.decisions import Alias
from registry.desk import Desk
from registry.lineage import known_sequence
from registry.store import Registry, open_registry

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "lori-assistant"


@pytest.fixture
def aliases() -> FakeAliases:
    return FakeAliases()


@pytest.fixture
def logged(
    tables_kind: str, home: Path, files: Path, folder: FolderArtifacts, aliases: FakeAliases
) -> Iterator[Registry]:
    """A sequence whose log has seven entries: two promotions and a freeze."""
    with open_registry(home, artifacts=folder, aliases=aliases) as registry:
        declare(registry)
        registry.declare_sequence(sequence_record("other"))
        registry.file_version(version_record(1), files)
        for _ in range(2):
            promoted(registry)
        with registry._database.writing() as session:
            owner = known_sequence(session, "assistant")
            ledger.append(session, owner, "frozen", "ben", {"until": "2030", "reason": "audit"})
        ledger.anchor(registry, "assistant")
        yield registry


def promoted(registry: Registry) -> None:
    with registry._database.writing() as session:
        owner = known_sequence(session, "assistant")
        document: dict[str, object] = {"rules": [], "at": session.query(ReportRow).count()}
        policy = session.query(PolicyRow).first() or PolicyRow(
            sequence_id=owner.id, version=1, sha256="p" * 64, document={}, created=WHEN,
            created_by="ann",
        )  # fmt: skip
        report = ReportRow(
            sequence_id=owner.id, number=1, policy=policy, champion=None, ok=True,
            document=document, sha256=sha256_json(document), tests={}, created=WHEN,
            created_by="ann",
        )  # fmt: skip
        row = PromotionRow(
            sequence_id=owner.id, kind="promote", alias="champion", from_version=None,
            to_version=1, requested_by="ann", reason="good", expected="none", report=report,
            created=WHEN,
        )  # fmt: skip
        row.facts_sha256 = ledger.facts_hash(owner.name, row, report.sha256)
        session.add(row)
        session.flush()
        facts = {"facts_sha256": row.facts_sha256}
        for kind, payload in (("requested", facts), ("applying", {}), ("applied", {"n": 0.1})):
            ledger.append(session, owner, kind, "ann", payload, row)


def faults(registry: Registry) -> tuple[str, ...]:
    return ledger.check(registry, "assistant").faults


def tampered(registry: Registry, work: Callable[[Connection], object]) -> tuple[str, ...]:
    """What somebody with all rights does: he takes the triggers away first."""
    with registry._database.engine.begin() as connection:
        for table in (*IMMUTABLE,):
            if registry._database.is_sqlite:
                for change in ("update", "delete", "replace"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_refuses_{change}"))
            else:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        work(connection)
    return faults(registry)


def run(*statements: str) -> Callable[[Connection], object]:
    return lambda connection: [connection.execute(text(each)) for each in statements]


def test_a_log_that_nobody_touched_is_whole(logged: Registry) -> None:
    found = ledger.check(logged, "assistant")
    assert (found.ok, found.length, found.faults) == (True, 7, ())
    with logged._database.reading() as session:
        entries = ledger.entries(session, known_sequence(session, "assistant"))
    assert [entry.position for entry in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert [entry.previous for entry in entries] == [
        ledger.BEGINNING,
        *(entry.sha256 for entry in entries[:-1]),
    ]
    assert found.head == entries[-1].sha256
    assert ledger.check(logged, "other").ok


def test_anybody_can_compute_an_entry_s_hash_again(logged: Registry) -> None:
    with logged._database.reading() as session:
        last = ledger.entries(session, known_sequence(session, "assistant"))[-1]
    assert last.sha256 == sha256_json(
        {
            "sequence": "assistant",
            "position": 7,
            "kind": "frozen",
            "promotion": None,
            "alias": None,
            "actor": "ben",
            "created": last.at.isoformat(timespec="microseconds"),
            "payload": {"until": "2030", "reason": "audit"},
            "previous": last.previous,
        }
    )


@pytest.mark.parametrize(
    ("position", "change"),
    [
        (1, "actor = 'mallory'"),
        (7, "actor = 'mallory'"),
        (3, "kind = 'rejected'"),
        (1, 'payload = \'{"facts_sha256": "0"}\''),
        (3, "created = '2020-01-01 00:00:00.000000'"),
        (3, "previous = sha256"),
        (3, "alias = 'candidate'"),
    ],
)
def test_an_edited_entry_is_found_where_it_is(logged: Registry, position: int, change: str) -> None:
    edit = f"UPDATE promotion_events SET {change} WHERE position = {position}"
    assert f"position {position}: edited" in " ".join(tampered(logged, run(edit)))


@pytest.mark.parametrize("position", [1, 4])
def test_a_deleted_entry_is_found_where_it_was(logged: Registry, position: int) -> None:
    found = tampered(logged, run(f"DELETE FROM promotion_events WHERE position = {position}"))
    assert f"position {position}: deleted" in found


@pytest.mark.parametrize("position", [2, 4])
def test_a_gap_that_was_closed_up_is_found_where_it_was(logged: Registry, position: int) -> None:
    statements = [f"DELETE FROM promotion_events WHERE position = {position}"] + [
        f"UPDATE promotion_events SET position = {later - 1} WHERE position = {later}"
        for later in range(position + 1, 8)
    ]
    found = " ".join(tampered(logged, run(*statements)))
    assert f"position {position}: edited or moved" in found
    assert "position 7: cut off" in found


def test_entries_that_changed_places_are_found(logged: Registry) -> None:
    found = " ".join(
        tampered(
            logged,
            run(
                "UPDATE promotion_events SET position = 99 WHERE position = 3",
                "UPDATE promotion_events SET position = 3 WHERE position = 5",
                "UPDATE promotion_events SET position = 5 WHERE position = 99",
            ),
        )
    )
    assert "position 3: edited or moved" in found
    assert "position 5: edited or moved" in found


@pytest.mark.parametrize(("kept", "span"), [(6, "7"), (3, "4 to 7"), (0, "1 to 7")])
def test_entries_cut_off_at_the_end_are_missed(logged: Registry, kept: int, span: str) -> None:
    cut = f"DELETE FROM promotion_events WHERE position > {kept}"
    found = tampered(logged, run(cut))
    assert sum(f"position {span}: cut off" in fault for fault in found) == 2  # file and tag


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM promotion_events WHERE position > 3",
        "DELETE FROM promotion_events WHERE position = 7",
        "DELETE FROM promotion_events",
        "UPDATE promotion_events SET actor = 'mallory' WHERE position = 5",
        "UPDATE promotions SET reason = 'another' WHERE id = 2",
        "UPDATE gate_reports SET document = '{}' WHERE id = 2",
    ],
)
def test_the_end_of_a_log_is_enough_to_refuse_it_by(logged: Registry, change: str) -> None:
    assert ledger.end_fault(logged, "assistant") is None
    assert ledger.end_fault(logged, "other") is None
    assert ledger.end_fault(logged, "assistant") is None
    whole = tampered(logged, run(change))
    assert ledger.end_fault(logged, "assistant") in whole
    with pytest.raises(CheckFailed, match="`lori history assistant --check`"):
        ledger.refuse_broken(logged, "assistant")


def test_of_a_long_log_only_the_end_and_what_serves_are_looked_at(logged: Registry) -> None:
    with logged._database.writing() as session:
        owner = known_sequence(session, "assistant")
        for _ in range(20):
            ledger.append(session, owner, "thawed", "ben", {})
    assert ledger.end_fault(logged, "assistant") is None, "it may be longer than its anchors"
    ledger.anchor(logged, "assistant")
    assert ledger.end_fault(logged, "assistant") is None
    tampered(logged, run("UPDATE promotion_events SET actor = 'mallory' WHERE position = 10"))
    assert ledger.end_fault(logged, "assistant") is None
    assert not ledger.check(logged, "assistant").ok
    tampered(logged, run("UPDATE promotion_events SET payload = '{}' WHERE position = 6"))
    assert ledger.end_fault(logged, "assistant") == "position 6: edited or moved (applied by ann)"


@pytest.mark.parametrize("remaining", ["file", "tag"])
def test_one_anchor_is_enough_to_miss_what_was_cut_off(
    logged: Registry, home: Path, aliases: FakeAliases, remaining: str
) -> None:
    if remaining == "tag":
        (home / "anchors" / "assistant.json").unlink()
    else:
        aliases.tags.clear()
    found = tampered(logged, run("DELETE FROM promotion_events WHERE position = 7"))
    assert any("position 7: cut off" in fault for fault in found)


def test_a_log_without_any_anchor_is_not_whole(
    logged: Registry, home: Path, aliases: FakeAliases
) -> None:
    (home / "anchors" / "assistant.json").unlink()
    aliases.tags.clear()
    assert any("no anchor" in fault for fault in faults(logged))


def test_what_is_written_after_a_cut_does_not_hide_it(logged: Registry) -> None:
    tampered(logged, run("DELETE FROM promotion_events WHERE position > 5"))
    with logged._database.writing() as session:
        owner = known_sequence(session, "assistant")
        for _ in range(4):
            ledger.append(session, owner, "thawed", "mallory", {})
    ledger.anchor(logged, "assistant")
    found = faults(logged)
    assert any("position 7: not the entry that" in fault for fault in found)


def test_an_entry_that_was_hashed_again_is_found_by_the_next(logged: Registry) -> None:
    def rewrite(connection: Connection) -> None:
        with logged._database.reading() as session:
            owner = known_sequence(session, "assistant")
            row = ledger._rows(session, owner)[3]
            row.actor = "mallory"
            digest = ledger.entry_hash("assistant", row)
            session.rollback()
        connection.execute(
            text(f"UPDATE promotion_events SET actor='mallory', sha256='{digest}' WHERE position=4")
        )

    assert any("position 4: not what position 5" in fault for fault in tampered(logged, rewrite))


@pytest.mark.parametrize(
    ("statement", "position", "what"),
    [
        ("UPDATE promotions SET reason = 'another' WHERE id = 2", 4, "facts of promotion 2"),
        ("UPDATE promotions SET to_version = 9 WHERE id = 1", 1, "facts of promotion 1"),
        ("UPDATE promotions SET report_id = 1 WHERE id = 2", 4, "facts of promotion 2"),
        ("UPDATE gate_reports SET document = '{}' WHERE id = 1", 1, "gate report of promotion 1"),
    ],
)
def test_edited_facts_are_found_at_the_entry_that_tells_of_them(
    logged: Registry, statement: str, position: int, what: str
) -> None:
    found = tampered(logged, run(statement))
    assert [fault for fault in found if fault.startswith(f"position {position}: the {what}")]


def test_a_promotion_that_no_entry_tells_of_is_found(logged: Registry) -> None:
    slip_in = (
        "INSERT INTO promotions (sequence_id, kind, alias, from_version, to_version, requested_by,"
        " reason, facts_sha256, created) SELECT sequence_id, kind, alias, from_version, to_version,"
        " requested_by, reason, facts_sha256, created FROM promotions WHERE id = 1"
    )
    found = tampered(logged, run(slip_in))
    assert found == ("position 8: promotion 3 stands in no entry of the log",)


def test_an_entry_of_another_sequence_is_no_entry_of_this_one(logged: Registry) -> None:
    move = (
        "UPDATE promotion_events SET sequence_id ="
        " (SELECT id FROM sequences WHERE name = 'other') WHERE position = 1"
    )
    assert "position 1: deleted" in tampered(logged, run(move))
    assert "position 1: edited" in " ".join(ledger.check(logged, "other").faults)


@pytest.mark.parametrize("text", ["", "null", '{"length": "7"}', '{"length": 0, "head": ""}'])
def test_a_spoilt_anchor_is_found(logged: Registry, home: Path, text: str) -> None:
    (home / "anchors" / "assistant.json").write_text(text)
    assert any("the anchor assistant.json" in fault for fault in faults(logged))
    ledger.anchor(logged, "assistant")
    assert (home / "anchors" / "assistant.json").read_text() == text, "it is the evidence"


def test_a_log_may_be_longer_than_its_anchors(logged: Registry) -> None:
    with logged._database.writing() as session:
        ledger.append(session, known_sequence(session, "assistant"), "thawed", "ben", {})
    assert ledger.check(logged, "assistant").ok
    ledger.anchor(logged, "assistant")
    assert ledger.check(logged, "assistant").ok


def test_the_anchors_hold_the_length_and_the_last_hash(
    logged: Registry, home: Path, aliases: FakeAliases
) -> None:
    head = ledger.check(logged, "assistant").head
    kept = json.loads((home / "anchors" / "assistant.json").read_text())
    assert kept == {"length": 7, "head": head}
    assert aliases.model_tags(MODEL) == {"lori.log_length": "7", "lori.log_head": head}


def test_times_in_the_log_never_go_back(logged: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    early = datetime(1999, 1, 1, tzinfo=UTC)
    assert clock.now() > early
    monkeypatch.setattr(ledger, "now", lambda: early)
    with logged._database.writing() as session:
        owner = known_sequence(session, "assistant")
        before = ledger.entries(session, owner)[-1]
        after = ledger.append(session, owner, "thawed", "ben", {})
    assert after.at == before.at


@pytest.mark.parametrize("before", [0, 2], ids=["the first promotion", "a later one"])
def test_a_promotion_while_the_log_is_checked_raises_no_alarm(
    home: Path, learned_homes: Learned, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    learned_homes.into(home, 4)
    aliases = FakeAliases()
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        desk = Desk(registry, ANN)
        for version in range(1, before + 1):
            desk.promote("assistant", version, reason="good")
        for reads in ("file_anchor", "_tag_anchor", "_rows"):
            real, waiting = getattr(ledger, reads), [before + 1]

            def meanwhile(*given: object, real=real, waiting=waiting) -> object:  # type: ignore[no-untyped-def]
                found = real(*given)
                if waiting:
                    desk.promote("assistant", waiting.pop(), reason="meanwhile")
                return found

            monkeypatch.setattr(ledger, reads, meanwhile)
            assert ledger.check(registry, "assistant").faults == ()
            monkeypatch.setattr(ledger, reads, real)
            before += 1
            assert not waiting
            if before == 4:
                break
        assert ledger.check(registry, "assistant").ok


def test_a_log_looked_at_in_the_middle_of_its_first_promotion_raises_no_alarm(
    home: Path, learned_homes: Learned
) -> None:
    learned_homes.into(home, 1)
    seen = []

    class Looking(FakeAliases):
        def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
            super().set_alias(model_name, alias, model_version)
            seen.append(ledger.check(registry, "assistant"))

    with open_registry(home, artifacts=HomeArtifacts(home), aliases=Looking()) as registry:
        Desk(registry, ANN).promote("assistant", 1, reason="good")
    assert [(each.length, each.faults) for each in seen] == [(2, ())]
