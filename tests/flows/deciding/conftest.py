"""The command at a real registry and MLflow store, in which nothing was trained."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import lori
from tests.flows.deciding.deciding_cases import Say
from tests.flows.filed import make_home


@pytest.fixture(scope="session")
def filed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, filed; do not change anything there."""
    return make_home(tmp_path_factory.mktemp("filed") / "home")


@pytest.fixture
def home(filed_once: Path, tmp_path: Path) -> Path:
    """A copy of it, to decide about."""
    return Path(shutil.copytree(filed_once, tmp_path / "home"))


@pytest.fixture
def say(home: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """The command, at that home."""
    for variable in ("LORI_REGISTRY_URL", "LORI_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LORI_HOME", str(home))

    def run(*arguments: object, token: str | None = None) -> Result:
        answer = CliRunner().invoke(
            lori, [str(each) for each in arguments], env={"LORI_TOKEN": token}
        )
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer

    return run
