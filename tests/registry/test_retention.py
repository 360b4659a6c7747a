"""What nothing needs can be deleted; all else is refused, and says why."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from decision_cases import ADA, ANN
from registry_examples import cell, version_record, write_files

from lori_core.errors import CheckFailed
from registry import doctor, lineage, retention
from registry.clock import now
from registry.decision_models import ConfirmationRow, PromotionRow
from registry.decisions import EventKind
from registry.desk import Desk
from registry.ledger import append, facts_hash
from registry.records import FiledVersion
from registry.store import Registry, open_registry


@pytest.fixture
def filed(filing_home: Path, tmp_path: Path) -> Iterator[Registry]:
    """Three versions, filed."""
    with open_registry(filing_home) as registry:
        for number in (1, 2, 3):
            files = write_files(tmp_path / str(number), str(number))
            registry.file_version(version_record(number), files)
        yield registry


def deleted(registry: Registry, version: int) -> FiledVersion:
    return retention.delete_version(registry, "assistant", version, actor=ADA, reason="a mistake")


def promoted(registry: Registry, version: int, *states: EventKind) -> None:
    """A promotion that went through these states, in our rows alone."""
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, "assistant")
        row = PromotionRow(
            sequence_id=owner.id,
            kind="promote",
            alias="champion",
            from_version=None,
            to_version=version,
            requested_by="me",
            reason="because",
            expected=None,
            facts_sha256="",
            created=now(),
        )
        row.facts_sha256 = facts_hash(owner.name, row, None)
        session.add(row)
        session.flush()
        for state in ("requested", *states):
            append(session, owner, state, "me", {"facts_sha256": row.facts_sha256}, row)


def test_the_newest_version_that_nothing_needs_is_deleted_without_a_trace(filed: Registry) -> None:
    before = filed.version("assistant", 3)
    assert retention.needed(filed, "assistant")[3] == ()
    assert deleted(filed, 3) == before
    assert [version.version for version in filed.versions("assistant")] == [1, 2]
    assert not list(filed.settings.home.glob(f"mlartifacts/*/models/{before.model_id}/artifacts/*"))
    assert doctor.examine(filed) == ()


def test_the_log_keeps_what_was_deleted_by_whom_and_why(filed: Registry) -> None:
    gone = deleted(filed, 3)
    desk = Desk(filed, ADA)
    (entry,) = desk.log("assistant")
    assert (entry.kind, entry.actor) == ("deleted", "ada")
    assert entry.payload["version"] == 3
    assert entry.payload["manifest_sha256"] == gone.manifest_sha256
    assert entry.payload["reason"] == "a mistake"
    assert desk.check_history("assistant").ok


def test_only_an_admin_deletes(filed: Registry) -> None:
    with pytest.raises(CheckFailed, match="to delete takes admin"):
        retention.delete_version(filed, "assistant", 3, actor=ANN, reason="mine")
    assert len(filed.versions("assistant")) == 3


def test_it_can_be_filed_again(filed: Registry, tmp_path: Path) -> None:
    filed.record_cell(cell(3, "code"))
    deleted(filed, 3)
    assert filed.cells("assistant") == ()
    filed.file_version(version_record(3), tmp_path / "3")
    assert doctor.examine(filed) == ()


def test_what_later_versions_read_is_kept(filed: Registry) -> None:
    with pytest.raises(CheckFailed, match="version 3 was trained on it and reads what it wrote"):
        deleted(filed, 1)
    assert len(filed.versions("assistant")) == 3


def test_what_served_or_may_soon_is_kept(filed: Registry) -> None:
    promoted(filed, 3, "applying", "failed")
    assert retention.needed(filed, "assistant")[3] == ()
    promoted(filed, 3)
    with pytest.raises(CheckFailed, match="a promotion of it is under way"):
        deleted(filed, 3)
    promoted(filed, 3, "applying", "applied")
    with pytest.raises(CheckFailed, match="it served by a promotion that was applied"):
        deleted(filed, 3)


def test_what_a_server_loaded_is_kept(filed: Registry) -> None:
    with filed._database.writing() as session:
        session.add(
            ConfirmationRow(
                sequence_id=lineage.known_sequence(session, "assistant").id,
                number=3,
                task="code",
                read="inherited",
                digest="0" * 64,
                host="server",
                loaded_at=now(),
                created=now(),
            )
        )
    with pytest.raises(CheckFailed, match="a server said that it loaded it"):
        deleted(filed, 3)


def test_a_deletion_that_died_half_way_is_undone_or_ended_by_the_doctor(
    filed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*given: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_forget", died)
        with pytest.raises(SystemExit):
            deleted(filed, 3)
    found = doctor.examine(filed)
    assert [(each.what, each.where) for each in found] == [("model-deleted", "assistant/3")]
    assert all(each.mended for each in doctor.repair(filed, found))
    deleted(filed, 3)
    assert doctor.examine(filed) == ()
