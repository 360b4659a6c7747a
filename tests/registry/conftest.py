import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # registry_examples, also for child processes

from folder_artifacts import FolderArtifacts
from registry_examples import declare, version_record, write_files

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
def registry(home: Path) -> Iterator[Registry]:
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
def learned(home: Path, files: Path, folder: FolderArtifacts) -> Iterator[Registry]:
    """Three tasks declared, the first one learned and filed."""
    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        registry.file_version(version_record(1), files)
        yield registry
