"""The same schema, store and locks on a real PostgreSQL server (a pip package that ships its binaries)."""

from dataclasses import replace
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from registry_examples import cell, declare, die, killed_or_done, sequence_record, version_record
from sqlalchemy import create_engine, inspect, text

from lori_core.errors import BadInput, SequenceChanged
from registry.database import HEAD, Database
from registry.models import Table
from registry.settings import find_settings
from registry.store import open_registry
from tests.forked import Fork

pytestmark = pytest.mark.slow


def test_the_same_migrations_make_the_same_tables(url: str, home: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    open_registry(home).close()
    database = Database(find_settings(home).registry_url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "alembic_version_lori", "compare_type": True}
        )
        assert compare_metadata(context, Table.metadata) == []
        assert set(inspect(connection).get_table_names()) == {
            *Table.metadata.tables,
            "alembic_version_lori",
        }
        found = connection.execute(text("SELECT version_num FROM alembic_version_lori")).scalar()
        assert found == HEAD
    database.close()


def test_a_version_is_filed_and_read_as_on_sqlite(
    url: str, home: Path, files: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    sqlite = FolderArtifacts(tmp_path / "sqlite")
    with pytest.MonkeyPatch.context() as patch, open_registry(home, artifacts=folder) as here:
        patch.delenv("LORI_REGISTRY_URL")
        with open_registry(tmp_path / "other", artifacts=sqlite) as there:
            for registry in (here, there):
                declare(registry)
                registry.record_cell(cell(0, "safety", 0.1))
                registry.record_cell(cell(1, "safety", 0.9))
                registry.record_cell(cell(1, "safety", 0.9))
                registry.stage_started("k", stage="train", sequence="assistant", task="safety")
                registry.stage_finished("k")
                registry.file_version(version_record(1), files)
            assert here.version("assistant", 1).idem_key == there.version("assistant", 1).idem_key
            assert here.certificate("assistant", 1) == there.certificate("assistant", 1)
            assert here.mask("assistant", 1) == there.mask("assistant", 1)
            assert here.sequence("assistant") == there.sequence("assistant")
            assert here.tasks("assistant") == there.tasks("assistant")
            assert [c.value for c in here.cells("assistant")] == [0.1, 0.9]
        with pytest.raises(SequenceChanged, match="base"):
            here.declare_sequence(replace(sequence_record(), base_digest="f" * 64))
    assert not (home / "registry.db").exists()


def _open_and_write(home: Path, writer: int) -> None:
    with open_registry(home) as registry:
        declare(registry)
        for number in range(10):
            registry.record_cell(cell(1, "safety", value=writer + number / 100))


def test_processes_that_open_and_write_at_once_all_succeed(url: str, home: Path) -> None:
    writers = [Fork(target=_open_and_write, args=(home, w)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    engine = create_engine(find_settings(home).registry_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM evaluations")).scalar() == 40
    engine.dispose()


def test_a_killed_filing_frees_its_lock_and_goes_on(
    url: str, home: Path, files: Path, folder: FolderArtifacts
) -> None:
    def filing() -> None:
        with open_registry(home, artifacts=folder) as registry:
            declare(registry)
            registry.file_version(version_record(1), files, on_step=lambda state: die())

    assert killed_or_done(filing) == -9
    with open_registry(home, artifacts=folder) as registry:
        assert registry.version("assistant", 1).state == "reserved"
        assert registry.file_version(version_record(1), files).state == "registered"


def test_a_store_of_a_newer_schema_is_refused(url: str, home: Path) -> None:
    with open_registry(home) as registry, registry._database.writing() as session:
        session.execute(text("UPDATE alembic_version_lori SET version_num = '9999'"))
    with pytest.raises(BadInput, match=r"newer schema \(9999\)"):
        open_registry(home)
