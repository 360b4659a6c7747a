"""Where an MLflow server that runs already would have files put: whose folder is it?"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry.probing import Answer
from registry.settings import switch_telemetry_off

if TYPE_CHECKING:
    from registry.mlflow_probe import MlflowProbe

switch_telemetry_off()


@contextmanager
def answering(place: str) -> Iterator[str]:
    """A server whose experiments keep their files at `place`, and that allows everything else."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = "experiments/create" in self.path
            body = json.dumps({"experiment": {"artifact_location": place}}).encode()
            self.send_response(400 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *said: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def probe(url: str, home: Path) -> "MlflowProbe":
    from registry.mlflow_probe import MlflowProbe  # mlflow: once its telemetry is off

    return MlflowProbe(url, home)


def artifacts(place: str, home: Path) -> Answer:
    with answering(place) as url:
        (told,) = [each for each in probe(url, home).rights() if each.question == "artifacts"]
    return told


def test_files_in_this_very_home_are_where_they_belong(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    for place in ((home / "mlartifacts" / "0").as_uri(), str(home / "mlartifacts")):
        told = artifacts(place, home)
        assert told.ok
        assert told.detail.endswith("in this home")


@pytest.mark.parametrize("place", ["file:///srv/mlruns/0", "mlruns/0", "/srv/a home/../x"])
def test_another_folder_of_a_server_is_a_folder_of_this_host_to_us(
    place: str, tmp_path: Path
) -> None:
    told = artifacts(place, tmp_path / "a home")
    assert not told.ok
    assert "--serve-artifacts" in told.remedy


def test_a_server_elsewhere_has_no_folder_in_our_home(tmp_path: Path) -> None:
    there = (tmp_path / "mlartifacts" / "0").as_uri()
    here = probe("http://127.0.0.1:5000", tmp_path)
    elsewhere = probe("http://mlflow.example.org:5000", tmp_path)
    assert here.in_our_home(there)
    assert not elsewhere.in_our_home(there)
