"""Filing through a real MLflow server, as when MLFLOW_TRACKING_URI names one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_examples import declare, version_record, write_files
from servers import mlflow_server

from lori_core.errors import BadInput
from registry.store import open_registry

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with a store and artifacts of its own, which MLFLOW_TRACKING_URI names."""
    with mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "server") as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url


def test_versions_are_filed_and_fetched_through_a_server(
    server: str, home: Path, files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_registry(home) as registry:
        declare(registry)
        first = registry.file_version(version_record(1), files)
        assert registry.file_version(version_record(1), files) == first
        second = registry.file_version(version_record(2), write_files(tmp_path / "two", "two"))
        assert (first.model_version, second.model_version) == (1, 2)
        path = registry.artifact_path("assistant", 2)
    assert (path / "lori.safetensors").read_bytes() == b"values two"
    assert not (home / "mlflow.db").exists()
    assert not (home / "mlartifacts").exists()
    assert capfd.readouterr().out == ""


def test_a_server_that_does_not_answer_is_one_line(
    home: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with open_registry(home) as registry:
        declare(registry)
        with pytest.raises(BadInput, match="a store or server that answers") as refusal:
            registry.file_version(version_record(1), files)
        assert registry.version("assistant", 1).state == "reserved"
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)
