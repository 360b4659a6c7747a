import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.prefect_server import client_settings, embedded_settings, free_port
from tests.flows.conftest import ROOT

FLOW = """
import sys
from pathlib import Path
from flows.prefect_server import flush_events, log_to_file, prefect_server
started = []
with prefect_server(Path(sys.argv[1]), started.append) as ready:
    ready()
    from prefect import flow, task
    log_to_file(Path(sys.argv[1]) / "logs" / "prefect.log")
    @task(persist_result=True)
    def one(): return 1
    @flow
    def f(): return one() + 1
    print(f())
    flush_events()
print([each.alive() for each in started])
"""


@pytest.mark.slow
def test_a_flow_runs_on_a_server_of_ours_and_says_nothing_on_stderr(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    answer = subprocess.run(
        [sys.executable, "-c", FLOW, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["2", "[False]"]
    assert answer.stderr == ""
    assert "Beginning flow run" in (tmp_path / "logs" / "prefect.log").read_text()
    assert (tmp_path / "prefect" / "prefect.db").exists()


LOGGED = """
import logging, sys
from pathlib import Path
from flows.prefect_server import log_to_file
import prefect._internal.concurrency.services
log_to_file(Path(sys.argv[1]))
for name in ("prefect", "prefect._internal.concurrency"):
    logging.getLogger(name).error("said by %s", name)
"""


def test_what_prefects_client_logs_in_threads_of_its_own_goes_to_the_file_too(
    tmp_path: Path,
) -> None:
    file = tmp_path / "prefect.log"
    answer = subprocess.run(
        [sys.executable, "-c", LOGGED, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (answer.stdout, answer.stderr) == ("", "")
    said = file.read_text()
    assert [
        said.count(f"said by {name}\n") for name in ("prefect", "prefect._internal.concurrency")
    ] == [1, 1]


def test_the_embedded_server_keeps_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    settings = embedded_settings(tmp_path)
    assert settings["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert settings["DO_NOT_TRACK"] == "true"
    assert settings["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_a_server_of_the_users_keeps_its_own_home(tmp_path: Path) -> None:
    assert "PREFECT_HOME" not in client_settings(tmp_path)


def test_a_free_port_is_one_that_nobody_listens_on() -> None:
    port = free_port()
    listening = {
        each.laddr.port for each in psutil.net_connections("tcp") if each.status == "LISTEN"
    }
    assert port not in listening
