import os
import subprocess
import sys
from pathlib import Path

import pytest

from lori_core.errors import BadInput
from registry.settings import QUIET, find_settings, without_password

ROOT = Path(__file__).parents[2]


def test_everything_lies_in_the_home_by_default() -> None:
    settings = find_settings(Path("/home/me/.lori"))
    assert settings.registry_url == "sqlite:////home/me/.lori/registry.db"
    assert settings.tracking_uri == "sqlite:////home/me/.lori/mlflow.db"
    assert settings.artifact_root == Path("/home/me/.lori/mlartifacts")


@pytest.mark.parametrize("given", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_way_to_write_postgresql_uses_our_driver(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORI_REGISTRY_URL", f"{given}://me:secret@db:5432/lori")
    found = find_settings(Path("/h")).registry_url
    assert found == "postgresql+psycopg://me:secret@db:5432/lori"


def test_a_server_keeps_its_own_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    settings = find_settings(Path("/h"))
    assert (settings.tracking_uri, settings.artifact_root) == ("http://mlflow:5000", None)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("LORI_REGISTRY_URL", "mysql://me:secret@db/lori"),
        ("LORI_REGISTRY_URL", "nonsense"),
        ("LORI_REGISTRY_URL", "sqlite://"),
        ("LORI_REGISTRY_URL", "sqlite:///:memory:"),
        ("MLFLOW_TRACKING_URI", "./mlruns"),
        ("MLFLOW_TRACKING_URI", "file:///mlruns"),
    ],
)
def test_a_store_we_cannot_use_is_refused_without_its_password(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(BadInput, match=variable) as refusal:
        find_settings(Path("/h"))
    assert "secret" not in str(refusal.value)


def test_passwords_are_hidden() -> None:
    assert without_password("http://me:secret@host:5000/x") == "http://me:***@host:5000/x"
    assert without_password("http://host:5000/x") == "http://host:5000/x"


@pytest.mark.slow
def test_mlflow_is_imported_with_its_telemetry_off(tmp_path: Path) -> None:
    script = (
        "from registry.store import open_registry\n"
        "from pathlib import Path\n"
        f"registry = open_registry(Path({str(tmp_path)!r}))\n"
        "registry._artifacts()\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
    )
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert QUIET["DO_NOT_TRACK"] == "true"  # MLflow ignores `1`
