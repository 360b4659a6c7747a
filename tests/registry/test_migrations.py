"""Every released revision is brought to the newest with data in it, and decisions stay as written."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from arrival_cases import running
from folder_artifacts import FolderArtifacts
from registry_examples import cell, declare, version_record
from sqlalchemy import inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import DatabaseError

from lori_core.digests import sha256_bytes
from registry.accounts import Accounts, actor_of, new_secret
from registry.arrivals import Arrivals
from registry.database import HEAD, MIGRATIONS, Database
from registry.decision_models import (
    IMMUTABLE,
    ConfirmationRow,
    OutboxRow,
    PolicyRow,
    PromotionRow,
    ReportRow,
    UseRow,
)
from registry.decisions import Actor
from registry.gating.report import times_used
from registry.ledger import append
from registry.lineage import known_sequence
from registry.models import Table
from registry.settings import find_settings
from registry.store import Registry, open_registry

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
OLD_TABLES = {
    "adapters", "arrivals", "certificates", "evaluations", "masks",
    "sequences", "stage_runs", "tasks", "versions",
}  # fmt: skip


def at_revision(database: Database, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database._writer.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def revision_of(database: Database) -> str:
    with database.engine.connect() as connection:
        return str(
            connection.execute(text("SELECT version_num FROM alembic_version_lori")).scalar()
        )


def test_a_store_of_the_first_release_is_upgraded_with_its_data(
    database_kind: str, home: Path, files: Path, folder: FolderArtifacts
) -> None:
    home.mkdir()
    settings = find_settings(home)
    database = Database(settings.registry_url)
    at_revision(database, "0001")
    with Registry(settings, database, folder) as old:
        declare(old)
        old.record_cell(cell(0, "safety", 0.1))
        old.file_version(version_record(1), files)
        before = (
            old.sequence("assistant"),
            old.tasks("assistant"),
            old.cells("assistant"),
            old.versions("assistant"),
            old.certificate("assistant", 1),
            old.mask("assistant", 1),
        )
        assert revision_of(database) == "0001"
        assert set(inspect(database.engine).get_table_names()) == {
            *OLD_TABLES,
            "alembic_version_lori",
        }
    with open_registry(home, artifacts=folder) as new:
        assert revision_of(new._database) == HEAD
        after = (
            new.sequence("assistant"),
            new.tasks("assistant"),
            new.cells("assistant"),
            new.versions("assistant"),
            new.certificate("assistant", 1),
            new.mask("assistant", 1),
        )
        assert after == before
        found = set(inspect(new._database.engine).get_table_names())
        assert found == {*Table.metadata.tables, "alembic_version_lori"}
        with new._database.writing() as session:
            append(session, known_sequence(session, "assistant"), "frozen", "ann", {})


def test_accounts_of_the_second_schema_are_kept_and_nobody_is_said_to_have_made_them(
    database_kind: str, home: Path, folder: FolderArtifacts
) -> None:
    home.mkdir()
    settings = find_settings(home)
    database = Database(settings.registry_url)
    at_revision(database, "0002")
    secret = new_secret()
    digest = sha256_bytes(secret.encode())
    with database._writer.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO accounts (id, name, role, disabled, created)"
                " VALUES (1, 'ann', 'admin', :no, :then)"
            ),
            {"no": False, "then": WHEN if database_kind == "postgresql" else str(WHEN)[:19]},
        )
        connection.execute(
            text(
                "INSERT INTO tokens (account_id, sha256, label, created)"
                " VALUES (1, :digest, 'old', :then)"
            ),
            {"digest": digest, "then": WHEN if database_kind == "postgresql" else str(WHEN)[:19]},
        )
    database.close()
    with open_registry(home, artifacts=folder) as new:
        ann = actor_of(new, secret)
        assert ann == Actor(name="ann", role="admin", account=True, vouched_by=())
        assert [each.made_by for each in Accounts(new, ann).accounts()] == [None]
        assert Accounts(new, ann).issue("ann", "new").token.made_by == "ann"
        assert [each.made_by for each in Accounts(new, ann).tokens("ann")] == [None, "ann"]


def decided_once(registry: Registry) -> None:
    """One row in every table that keeps its rows."""
    with registry._database.writing() as session:
        owner = known_sequence(session, "assistant")
        policy = PolicyRow(
            sequence_id=owner.id, version=1, sha256="p" * 64, document={}, created=WHEN,
            created_by="ann",
        )  # fmt: skip
        report = ReportRow(
            sequence_id=owner.id, number=1, policy=policy, champion=None, ok=True, document={},
            sha256="r" * 64, tests={}, created=WHEN, created_by="ann",
        )  # fmt: skip
        promotion = PromotionRow(
            sequence_id=owner.id, kind="promote", alias="champion", from_version=None,
            to_version=1, requested_by="ann", reason="good", expected=None, report=report,
            facts_sha256="f" * 64, created=WHEN,
        )  # fmt: skip
        session.add_all([policy, report, promotion])
        session.flush()
        session.add(UseRow(report_id=report.id, digest="t" * 64))
        append(session, owner, "requested", "ann", {}, promotion)
        session.add(OutboxRow(sequence_id=owner.id, kind="applied", payload={}, created=WHEN))
        confirmation = ConfirmationRow(
            sequence_id=owner.id, number=1, task="safety", read="inherited", digest="d" * 64,
            host="gpu-1", loaded_at=WHEN, created=WHEN,
        )  # fmt: skip
        session.add(confirmation)


COLUMN = {
    "gate_policies": "created_by",
    "gate_reports": "created_by",
    "gate_test_uses": "digest",
    "promotions": "reason",
    "promotion_events": "actor",
    "confirmations": "host",
    "outbox": "kind",
}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {column} = 'another'",
        "UPDATE {table} SET id = id + 100",
        "DELETE FROM {table}",
    ],
)
def test_the_database_itself_refuses_to_change_or_delete_a_decision(
    database_kind: str, home: Path, statement: str
) -> None:
    with open_registry(home) as registry:
        declare(registry)
        decided_once(registry)
        assert set(COLUMN) == set(IMMUTABLE)
        for table, column in COLUMN.items():
            refused = pytest.raises(DatabaseError, match="rows are never changed or deleted")
            with refused, registry._database.engine.begin() as connection:
                connection.execute(text(statement.format(table=table, column=column)))


@pytest.mark.slow
def test_postgresql_refuses_to_empty_a_table_of_decisions(url: str, home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
        decided_once(registry)
        for table in IMMUTABLE:
            refused = pytest.raises(DatabaseError, match="rows are never changed or deleted")
            with refused, registry._database.engine.begin() as connection:
                connection.execute(text(f"TRUNCATE {table} CASCADE"))


def test_sqlite_refuses_to_replace_a_decision(home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
        decided_once(registry)
    with sqlite3.connect(home / "registry.db") as raw:
        for table in IMMUTABLE:
            columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            names = ", ".join(columns)
            with pytest.raises(sqlite3.IntegrityError, match="never changed or deleted"):
                raw.execute(f"REPLACE INTO {table} ({names}) SELECT {names} FROM {table}")
        rest = "sequence_id, position, kind, actor, payload, created, previous, sha256"
        with pytest.raises(sqlite3.IntegrityError, match="never changed or deleted"):
            raw.execute(
                f"REPLACE INTO promotion_events ({rest}) SELECT {rest} FROM promotion_events"
            )


def test_a_promotion_goes_to_an_alias_a_person_may_move(registry: Registry) -> None:
    with pytest.raises(DatabaseError, match="alias"):
        promote_to_previous(registry)


def promote_to_previous(registry: Registry) -> None:
    with registry._database.writing() as session:
        owner = known_sequence(session, "assistant")
        row = PromotionRow(
            sequence_id=owner.id, kind="promote", alias="previous", from_version=None,
            to_version=1, requested_by="ann", reason="x", expected=None, report_id=None,
            facts_sha256="f" * 64, created=WHEN,
        )  # fmt: skip
        session.add(row)


def test_uses_of_test_sets_that_were_decided_on_before_are_counted_after_the_upgrade(
    database_kind: str, home: Path
) -> None:
    home.mkdir()
    settings = find_settings(home)
    database = Database(settings.registry_url)
    at_revision(database, "0002")
    with Registry(settings, database) as old:
        declare(old)
        with old._database.writing() as session:
            owner = known_sequence(session, "assistant")
            policy = PolicyRow(
                sequence_id=owner.id, version=1, sha256="p" * 64, document={}, created=WHEN,
                created_by="ann",
            )  # fmt: skip
            session.add(policy)
            for tests in ({"math": "m", "code": "c"}, {"math": "m", "twin": "m"}, {}):
                report = ReportRow(
                    sequence_id=owner.id, number=1, policy=policy, champion=None, ok=True,
                    document={}, sha256="r" * 64, tests=tests, created=WHEN, created_by="ann",
                )  # fmt: skip
                session.add(report)
    with open_registry(home) as new:
        assert times_used(new, {"math": "m", "code": "c", "other": "o"}) == {
            "math": 3, "code": 2, "other": 1,
        }  # fmt: skip


@pytest.mark.parametrize("released", ["0001", "0002", "0003"])
def test_a_store_of_every_released_schema_learns_in_turn_after_the_upgrade_with_its_data_kept(
    database_kind: str, home: Path, files: Path, folder: FolderArtifacts, released: str
) -> None:
    home.mkdir()
    settings = find_settings(home)
    database = Database(settings.registry_url)
    at_revision(database, released)
    with Registry(settings, database, folder) as old:
        declare(old)
        old.record_cell(cell(0, "safety", 0.1))
        old.file_version(version_record(1), files)
        before = (old.tasks("assistant"), old.cells("assistant"), old.versions("assistant"))
        with old._database.writing() as session:  # no release ever wrote one: what if somebody did
            session.execute(
                text(
                    "INSERT INTO arrivals (sequence, position, task, state, created)"
                    " VALUES ('assistant', 2, 'math', 'waiting', :then)"
                ),
                {"then": WHEN if database_kind == "postgresql" else str(WHEN)[:19]},
            )
    with open_registry(home, artifacts=folder) as new:
        assert revision_of(new._database) == HEAD
        assert (new.tasks("assistant"), new.cells("assistant"), new.versions("assistant")) == before
        arrivals = Arrivals(new)
        assert arrivals.arrivals() == ()
        held = running(arrivals, "math")
        new.fenced(held).record_cell(cell(1, "safety", 0.9))
        arrivals.learned(held, 2)
        assert len(new.cells("assistant")) == 2
        for table in ("submissions", "arrivals"):
            with new._database.reading() as session:
                assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 1
    database.close()


def test_the_newest_schema_is_undone_to_the_one_before(database_kind: str, home: Path) -> None:
    from alembic import command
    from alembic.config import Config

    home.mkdir()
    database = Database(find_settings(home).registry_url)
    at_revision(database, "0004")
    before = shape(database)
    at_revision(database, "0005")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database._writer.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    assert shape(database) == before
    database.close()


def shape(database: Database) -> dict[str, object]:
    """Every table with its columns, indexes and constraints."""
    seen = inspect(database.engine)
    return {
        table: (
            [
                (each["name"], str(each["type"]), each["nullable"])
                for each in seen.get_columns(table)
            ],
            sorted(_index(each) for each in seen.get_indexes(table)),
            sorted(str(each) for each in seen.get_check_constraints(table)),
            sorted(str(each) for each in seen.get_unique_constraints(table)),
        )
        for table in seen.get_table_names()
    }


def _index(index: ReflectedIndex) -> str:
    """An index with the condition it was made under, which is a clause and prints its address."""
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})
