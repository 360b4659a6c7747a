import resource
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from registry_examples import cell, declare
from sqlalchemy import inspect, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lori_core.errors import BadInput, Unavailable
from registry.database import HEAD, MIGRATIONS, Database
from registry.models import Mask, Stage, Table
from registry.store import Registry, open_registry, registry_exists
from tests.forked import Fork, tell

ROOT = Path(__file__).parents[2]


def database(path: Path) -> Database:
    made = Database(f"sqlite:///{path}")
    made.prepare()
    return made


def test_the_head_we_name_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrations_make_the_tables_the_models_describe(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    made = database(tmp_path / "registry.db")
    with made.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "alembic_version_lori", "compare_type": True}
        )
        assert compare_metadata(context, Table.metadata) == []
        assert "alembic_version" not in inspect(connection).get_table_names()


def test_sqlite_keeps_a_write_ahead_log_and_foreign_keys(tmp_path: Path) -> None:
    made = database(tmp_path / "registry.db")
    with made.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) == 60_000
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), made.writing() as session:
        session.add(Mask(adapter_id=7, sha256="0" * 64, nnz=1, total=2, layers={}))


def test_a_time_comes_back_aware_whatever_zone_it_was_given_in(tmp_path: Path) -> None:
    made = database(tmp_path / "registry.db")
    east = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
    with made.writing() as session:
        session.add(_attempt(1, "running", east))
    with made.reading() as session:
        found = session.query(Stage).one().started
    assert found == east
    assert found.tzinfo is UTC


def _attempt(attempt: int, state: str, started: datetime) -> Stage:
    return Stage(
        key="k",
        stage="train",
        sequence="s",
        attempt=attempt,
        state=state,
        started=started,
        detail={},
    )


def _write_one_good_and_one_bad(made: Database) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    with made.writing() as session:
        session.add(_attempt(1, "running", when))
        session.flush()
        session.add(_attempt(2, "dancing", when))


def test_what_was_to_be_written_is_in_no_error_and_a_nul_is_the_askers_fault(
    tmp_path: Path,
) -> None:
    made = database(tmp_path / "registry.db")
    with pytest.raises(Exception) as fault, made.reading() as session:  # noqa: PT011
        session.execute(text("SELECT :secret FROM nowhere"), {"secret": "a customer's words"})
    assert "a customer's words" not in str(fault.value)
    nul = ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    with pytest.raises(BadInput, match="NUL"), made.told():
        raise DataError("SELECT", {}, nul)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    made = database(tmp_path / "registry.db")
    with pytest.raises(IntegrityError):
        _write_one_good_and_one_bad(made)
    with made.reading() as session:
        assert session.query(Stage).count() == 0


def test_a_store_of_a_newer_schema_is_refused_and_left_alone(home: Path) -> None:
    open_registry(home).close()
    with sqlite3.connect(home / "registry.db") as raw:
        raw.execute("UPDATE alembic_version_lori SET version_num = '9999'")
    before = (home / "registry.db").read_bytes()
    with pytest.raises(BadInput, match=r"newer schema \(9999\)") as refusal:
        open_registry(home)
    assert "Update lori-pipeline" in str(refusal.value)
    assert (home / "registry.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "registry.db").write_text("these are not the pages you are looking for " * 100)
    with pytest.raises(BadInput, match="not a database"):
        open_registry(home)


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_registry_that_was_lost_is_not_begun_anew(home: Path, left: str) -> None:
    open_registry(home).close()
    for path in home.glob("registry.db*"):
        if path.is_file():
            path.unlink()
    open_registry(home).close()  # nothing was decided in it, so nothing is lost
    (home / "anchors").mkdir()
    (home / "anchors" / "assistant.json").write_text('{"length": 3, "head": "x"}')
    open_registry(home).close()
    (home / "registry.db").unlink()
    if left == "an empty file":
        (home / "registry.db").touch()
    for opened in (open_registry, registry_exists):
        with pytest.raises(Unavailable, match="tells of a log of decisions") as refusal:
            opened(home)
        assert "Restore it from a backup" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert (home / "registry.db").exists() == (left == "an empty file")


def test_a_store_beneath_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORI_REGISTRY_URL", f"sqlite:///{tmp_path}/file/registry.db")
    with pytest.raises(BadInput, match=r"File exists|Not a directory"):
        open_registry(tmp_path / "home")


def test_a_server_that_does_not_answer_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORI_REGISTRY_URL", "postgresql://me:secret@127.0.0.1:9/lori")
    with pytest.raises(BadInput, match="a database server that answers") as refusal:
        open_registry(home)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def _open_and_count(home: Path, results: "Queue[int]") -> None:
    with open_registry(home) as registry:
        tell(results, len(registry.sequences()))


def test_many_processes_may_open_a_fresh_home_at_once(home: Path) -> None:
    results = get_context("fork").Queue()
    openers = [Fork(target=_open_and_count, args=(home, results)) for _ in range(6)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * 6
    assert [results.get(timeout=5) for _ in openers] == [0] * 6


def _write_cells(home: Path, writer: int, count: int) -> None:
    with open_registry(home) as registry:
        for number in range(count):
            registry.record_cell(cell(1, "safety", value=writer + number / 1000))
            registry.cells("assistant")


def test_processes_that_write_at_once_all_succeed(home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
    writers = [Fork(target=_write_cells, args=(home, w, 25)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with sqlite3.connect(home / "registry.db") as raw:
        assert raw.execute("SELECT count(*) FROM evaluations").fetchone() == (100,)


def _fill(home: Path, results: "Queue[str]") -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_registry(home) as registry:
        size = sum(path.stat().st_size for path in home.glob("registry.db*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50_000, size + 50_000))
        try:
            _write_many(registry)
        except BadInput as refusal:
            tell(results, str(refusal))


def _write_many(registry: Registry) -> None:
    for number in range(10_000):
        registry.record_cell(cell(1, "safety", value=number / 10_000))


def test_a_full_place_is_one_line_and_keeps_what_it_had(home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
        registry.record_cell(cell(2, "math"))
    results = get_context("fork").Queue()
    filler = Fork(target=_fill, args=(home, results))
    filler.start()
    said = results.get(timeout=30)
    filler.join()
    assert "expected a folder that can be written, with room" in said
    assert "\n" not in said
    with open_registry(home) as registry:
        assert [found.version for found in registry.cells("assistant")][-1] == 2
        registry.record_cell(cell(3, "math"))


def test_readers_load_neither_mlflow_nor_alembic_nor_torch(home: Path) -> None:
    with open_registry(home) as registry:
        declare(registry)
    script = (
        "import sys\nfrom pathlib import Path\nfrom registry.store import open_registry\n"
        f"registry = open_registry(Path({str(home)!r}))\n"
        "registry.versions('assistant'), registry.matrix_cells('assistant', 'inherited')\n"
        "registry.stages('assistant'), registry.cells('assistant'), registry.tasks('assistant')\n"
        "heavy = {'mlflow', 'alembic', 'torch', 'transformers', 'pandas', 'prefect'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, check=True)


def test_a_pool_that_has_no_connection_left_says_so_in_one_line(tmp_path: Path) -> None:
    made = database(tmp_path / "registry.db")
    with (
        pytest.raises(Unavailable, match="every connection of this process is in use"),
        made.told(),
    ):
        raise PoolTimeout("QueuePool limit of size 5 overflow 10 reached")


@pytest.mark.slow
def test_more_threads_may_wait_for_a_lock_than_the_pool_has_connections(url: str) -> None:
    made = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    made.prepare()
    held, threads = [], 30

    def turn(number: int) -> None:
        with made.exclusive("one-at-a-time"):
            time.sleep(0.01)
            with made.reading() as session, made.writing() as other:  # what a holder needs
                held.append((session.scalar(text("SELECT 1")), other.scalar(text("SELECT 2"))))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(turn, range(threads)))
    assert held == [(1, 2)] * threads
    made.close()
