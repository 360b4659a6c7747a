import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # api_cases
sys.path.insert(1, str(Path(__file__).parents[1] / "registry"))  # the registry's examples

from api_cases import Browser, Server
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from registry_examples import declare, version_record, write_files

from registry.accounts import TOKEN_VARIABLE, Accounts, new_secret, owner
from registry.decisions import Role
from registry.home import HOME_VARIABLE
from registry.roles import ROLES
from registry.settings import REGISTRY_VARIABLE, TRACKING_VARIABLE
from registry.store import Registry, open_registry


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (HOME_VARIABLE, REGISTRY_VARIABLE, TRACKING_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".lori"


@pytest.fixture
def registry(home: Path, tables: None, tmp_path: Path) -> Iterator[Registry]:
    """Three tasks declared, the first one learned and filed; MLflow stood in for by a folder."""
    folder = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        declare(registry)
        registry.file_version(version_record(1), write_files(tmp_path / "files"))
        yield registry


@pytest.fixture
def tokens(registry: Registry) -> dict[Role, str]:
    """An account of each role, named by it, and its token."""
    book = Accounts(registry, owner())
    found: dict[Role, str] = {}
    for role in ROLES:
        book.create(role, role)
        found[role] = book.issue(role, "test").secret
    return found


@pytest.fixture
def server(registry: Registry) -> Iterator[Server]:
    """The app without accounts, and the token it would print."""
    token = new_secret()
    with Browser(registry, token) as browser:
        yield Server(browser, token)


@pytest.fixture
def guarded(registry: Registry, tokens: dict[Role, str]) -> Iterator[Browser]:
    """The app with an account of each role."""
    with Browser(registry, None) as browser:
        yield browser
