import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # api_cases
sys.path.insert(1, str(Path(__file__).parents[1] / "registry"))  # the registry's examples

from api_cases import Browser, Server
from decision_cases import HomeArtifacts, Learned
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from people import Person, add_pages, give_passwords
from quick_passwords import quick_passwords
from registry_examples import declare, version_record, write_files

from dashboard.app import make_app
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


@pytest.fixture(scope="module")
def cheap_passwords() -> Iterator[None]:
    """For a file's tests: signing in costs next to nothing."""
    with quick_passwords():
        yield


@pytest.fixture
def known(registry: Registry) -> Registry:
    """With an account of each role, and their passwords."""
    give_passwords(registry)
    return registry


@pytest.fixture
def person(known: Registry) -> Person:
    """Somebody at a browser, who has not signed in."""
    return Person(add_pages(make_app(known, token=None, errands=False)))


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


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Homes whose sequence passes its gate, to be copied."""
    return Learned(tmp_path_factory.mktemp("learned"))


@pytest.fixture
def manual(home: Path, homes: Learned) -> Iterator[Registry]:
    """Four versions that pass their gates; a promoter promotes by himself."""
    homes.into(home, 4)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        give_passwords(registry)
        yield registry


@pytest.fixture
def asking(home: Path, homes: Learned) -> Iterator[Registry]:
    """Three versions, and a policy that wants a second person."""
    homes.into(home, 3, "approval")
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        give_passwords(registry)
        yield registry
