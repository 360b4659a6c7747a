"""Filing through a real MLflow server, as when MLFLOW_TRACKING_URI names one."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_examples import declare, version_record, write_files

from lori_core.errors import BadInput
from registry.store import open_registry

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with a store and artifacts of its own, in a process group that ends with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "server")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.skip("the MLflow server does not start here within two minutes")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
