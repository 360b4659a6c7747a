"""The connection to our own store: SQLite or PostgreSQL, opened, migrated and locked alike.

Writers take turns: SQLite by `BEGIN IMMEDIATE` (a transaction that begins by reading could not be
upgraded), PostgreSQL by one advisory lock. Both wait for each other instead of failing.
"""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool

from lori_core.errors import BadInput, LoriError, Unavailable
from registry.home import file_lock, says_unwritable, unwritable, writable

HEAD = "0006"
"""The newest schema this code knows (a test holds it to alembic's own head)."""

VERSION_TABLE = "alembic_version_lori"
MIGRATIONS = Path(__file__).with_name("migrations")

_DAMAGED = re.compile(
    r"no such (table|column)|duplicate column|table .* (already exists|has no column)|is a view"
    r"|(relation|column) .* (does not exist|already exists)"
)
"""Said of tables that are not those of the schema the store says it has."""

_NO_SQLITE = re.compile("not a database|malformed|unsupported file format")

BUSY_SECONDS = 60

CACHE_KIB = 32 * 1024
"""What a connection to SQLite may keep of its file: its own 2 MiB are less than the indexes of a
store of some thousand versions, which a find by digest would read from the disk again."""

IDLE_SECONDS = 60
"""How long PostgreSQL lets a writer do nothing amid a write (a process that was stopped, say)."""

_WRITES = "lori_writes"
_ADVISORY_WRITE = 0x6C6F_7269  # "lori"


class Database:
    """One store: sessions to read, sessions to write, locks between processes."""

    def __init__(self, url: str) -> None:
        """Prepare the connection; nothing is opened yet.

        Raises:
            BadInput: a URL that is none, or a driver that is not installed.
        """
        try:
            self.url: URL = make_url(url)
            self.engine: Engine = _engine(self.url)
            self._locks = self.engine if self.is_sqlite else _engine(self.url, NullPool)
        except (ArgumentError, ValueError) as error:  # a port that is no number is the latter
            raise BadInput("LORI_REGISTRY_URL", "a database URL", str(error)) from error
        except ModuleNotFoundError as error:
            raise BadInput(
                f"LORI_REGISTRY_URL needs the driver {error.name}",
                "an installed driver",
                "pip install 'lori-pipeline[postgres]'",
            ) from error
        self._writer = self.engine.execution_options(**{_WRITES: True})
        self._allowed: Callable[[Session], None] | None = None
        self._holder = "lori"

    def guarded(self, allowed: Callable[[Session], None], holder: str) -> Self:
        """The same store, where every write first asks `allowed` in its own transaction.

        Args:
            allowed: raises where the write may not be made; nothing is changed then.
            holder: what PostgreSQL knows the holder of a lock by.
        """
        guarded = copy.copy(self)
        guarded._allowed, guarded._holder = allowed, holder
        return guarded

    @property
    def place(self) -> str:
        """Where the store is, fit to be shown."""
        return self.url.database or "" if self.is_sqlite else self.url.render_as_string()

    @property
    def is_sqlite(self) -> bool:
        """SQLite locks by files, PostgreSQL by its own locks."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment and changes nothing."""
        with self.told(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are all kept, or none; one writer at a time."""
        with self.told(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            if self._allowed is not None:
                self._allowed(session)
            yield session

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock `name` between processes for long work; freed when this process dies."""
        if self.is_sqlite:
            with file_lock(Path(f"{self.place}.locks") / f"{name}.lock"):
                yield
            return
        # Who waits holds a connection of its own: out of the pool, enough that wait would leave none
        # to who holds the lock.
        with self.told(), self._locks.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            named = text("SELECT set_config('application_name', :holder, false)")
            connection.execute(named, {"holder": self._holder})
            connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
            try:
                yield
            finally:
                connection.execute(
                    text("SELECT pg_advisory_unlock(hashtext(:name))"), {"name": name}
                )

    def prepare(self) -> None:
        """Bring the schema to `HEAD`; at once when it is there, under a lock when it is not.

        Raises:
            BadInput: the store cannot be opened or written, or was written by a newer schema.
        """
        with self.told():
            if self._revision() == HEAD:
                return
            if self.is_sqlite:
                with writable(self.place):
                    Path(self.place).parent.mkdir(parents=True, exist_ok=True)
            with self.exclusive("migrate"):
                if self._revision() != HEAD:
                    self._migrate()

    def refuse_lost(self) -> None:
        """Return if the store is there, with tables in it: a connection that is open outlives its file.

        Raises:
            Unavailable: it is not, or it cannot be reached.
        """
        with self.told():
            if self._revision() is None:
                raise Unavailable(
                    f"{self.place} (gone, or empty)",
                    "the registry that was opened",
                    "Restore it from a backup, and start this again.",
                )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn a store that cannot be reached or written into one line; our bugs keep their traceback."""
        try:
            yield
        except PoolTimeout as error:
            raise Unavailable(
                f"{self.place} (every connection of this process is in use)",
                "a free connection",
                "Ask again in a moment.",
            ) from error
        except DatabaseError as error:
            if told := self._told(error):
                raise told from error
            raise

    def _told(self, error: DBAPIError) -> LoriError | None:
        reason = " ".join(str(error.orig).split())
        if says_unwritable(reason):
            return unwritable(self.place, reason)
        if "NUL (0x00)" in reason:  # PostgreSQL's text holds none
            return BadInput("a text with a NUL in it", "text without it")
        if _DAMAGED.search(reason):
            return Unavailable(
                f"{self.place} ({reason})",
                f"the tables of schema {HEAD}",
                "Restore the store from a backup, or use another one.",
            )
        if "invalid connection option" in reason:
            return BadInput("LORI_REGISTRY_URL", "options that PostgreSQL knows", reason)
        if not self.is_sqlite:
            # A writer that was stopped too long: an error of psycopg's internal kind.
            unreachable = isinstance(error, OperationalError) or "idle-in-transaction" in reason
            what, remedy = "a database server that answers", "Start it, or check LORI_REGISTRY_URL."
        elif unreachable := "locked" in reason:
            what, remedy = "a store no other program holds", "End what holds it and try again."
        elif unreachable := _NO_SQLITE.search(reason) is not None:
            what, remedy = "a registry's SQLite file", "Restore it, or use another LORI_HOME."
        return Unavailable(f"{self.place} ({reason})", what, remedy) if unreachable else None

    def _revision(self) -> str | None:
        """The schema's revision; None for a store that is not there or empty."""
        if self.is_sqlite and not holds_something(Path(self.place)):
            return None
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                return None
            rows = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars()
            found = sorted(str(revision) for revision in rows)
            return ",".join(found) if found else None

    def _migrate(self) -> None:
        from alembic import command  # a third of a second, needed once in a store's life
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        if self.is_sqlite:
            self._keep_a_write_ahead_log()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        found = self._revision()
        if found is not None and found not in known:
            raise BadInput(
                f"{self.place} was written by a newer schema ({found})",
                f"a store at schema {HEAD} or older",
                "Update lori-pipeline, or use another LORI_HOME.",
            )
        with self._writer.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _keep_a_write_ahead_log(self) -> None:
        connection = self.engine.raw_connection()  # SQLAlchemy's own would be in a transaction
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def holds_something(path: Path) -> bool:
    """Whether a file is there and not empty."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _engine(url: URL, pool: type[Pool] | None = None) -> Engine:
    if url.get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            pool_pre_ping=True,
            poolclass=pool,
            hide_parameters=True,  # a trace in a log is no place for what people wrote
            connect_args={"connect_timeout": 10},
        )
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _connect_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITES, False):
        connection.exec_driver_sql(  # whoever stops amid a write must not hold up all the others
            f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000};"
            f"SELECT pg_advisory_xact_lock({_ADVISORY_WRITE})"
        )
