import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # registry_examples, also for child processes

from decision_cases import HomeArtifacts, Learned
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from registry_examples import declare, version_record, write_files
from servers import NotHere, PostgreSQL, postgresql

from registry.arrivals import Arrivals
from registry.database import Database
from registry.home import HOME_VARIABLE
from registry.settings import (
    REGISTRY_VARIABLE,
    TRACKING_VARIABLE,
    find_settings,
    switch_telemetry_off,
)
from registry.store import Registry, open_registry


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (HOME_VARIABLE, REGISTRY_VARIABLE, TRACKING_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".lori"


@pytest.fixture
def registry(home: Path, tables: None) -> Iterator[Registry]:
    with open_registry(home) as registry:
        declare(registry)
        yield registry


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose MLflow store has its tables: they take seconds to make, and a copy does."""
    home = tmp_path_factory.mktemp("mlflow")
    switch_telemetry_off()
    from registry.mlflow_artifacts import MlflowArtifacts

    MlflowArtifacts(find_settings(home))
    return home


@pytest.fixture
def filing_home(home: Path, mlflow_store: Path) -> Path:
    """A home with the example sequence declared and MLflow's tables made."""
    shutil.copytree(mlflow_store, home)
    with open_registry(home) as registry:
        declare(registry)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> FolderArtifacts:
    return FolderArtifacts(tmp_path / "store")


@pytest.fixture
def learned(home: Path, tables: None, files: Path, folder: FolderArtifacts) -> Iterator[Registry]:
    """Three tasks declared, the first one learned and filed."""
    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        registry.file_version(version_record(1), files)
        yield registry


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A running PostgreSQL."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        try:
            # Not below pytest's folder: every run of pytest closes that to other users, of whom
            # the server of a root is one.
            place = stack.enter_context(
                TemporaryDirectory(prefix="lori-pg-", ignore_cleanup_errors=True)
            )
            running = stack.enter_context(postgresql(Path(place)))
        except NotHere as reason:
            pytest.skip(str(reason))
        yield running


@pytest.fixture
def url(server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh, empty database, named by LORI_REGISTRY_URL."""
    fresh = server.database()
    monkeypatch.setenv("LORI_REGISTRY_URL", fresh)
    return fresh


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Run a test on SQLite and on a PostgreSQL server, which LORI_REGISTRY_URL then names."""
    if request.param == "postgresql":
        request.getfixturevalue("url")
    return str(request.param)


@pytest.fixture(scope="session")
def database_with_tables(server: PostgreSQL) -> str:
    """A database of the server that has our tables, for others to begin as."""
    url = server.database()
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    database.prepare()
    database.close()
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def tables_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As `database_kind`, with our tables there already: what is not about making them asks for this."""
    if request.param == "sqlite":
        request.getfixturevalue("tables")
    else:
        like = request.getfixturevalue("database_with_tables")
        server: PostgreSQL = request.getfixturevalue("server")
        monkeypatch.setenv(REGISTRY_VARIABLE, server.database(like))
    return str(request.param)


@pytest.fixture
def arrivals(tables_kind: str, home: Path) -> Iterator[Arrivals]:
    """The queue of a fresh registry, on SQLite and on a PostgreSQL server."""
    with open_registry(home) as registry:
        yield Arrivals(registry)


@pytest.fixture(scope="session")
def learned_homes(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Homes whose sequence passes its gate, to be copied."""
    return Learned(tmp_path_factory.mktemp("learned"))


@pytest.fixture
def aliases() -> FakeAliases:
    return FakeAliases()


@pytest.fixture
def four(home: Path, learned_homes: Learned, aliases: FakeAliases) -> Iterator[Registry]:
    """Four versions, each of which its gate lets pass; every promotion is by hand."""
    learned_homes.into(home, 4)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        yield registry


@pytest.fixture
def asking(home: Path, learned_homes: Learned, aliases: FakeAliases) -> Iterator[Registry]:
    """Three versions, and a policy that wants a second person."""
    learned_homes.into(home, 3, "approval")
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        yield registry
