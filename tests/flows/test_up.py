"""`lori up` with its real services, and how other commands find them."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.prefect_server import free_port
from flows.services import Ports, Service, answers
from flows.up import only_one
from lori_core.errors import BadInput
from registry.known_services import FILE, LOCK, known_services
from registry.settings import find_settings, sqlite_url
from registry.store import open_registry
from tests.flows.conftest import ROOT, Lab
from tests.flows.tiny import write_sequence

PREFECT, MLFLOW = "http://127.0.0.1:4200/api", "http://127.0.0.1:5000"
PATIENCE = 300.0
"""Seconds a start may take where other tests share the cores; `benchmarks.overhead` has the figure."""


def write_services(home: Path, *, host: str | None = None, ready: bool = True) -> None:
    services = {
        "prefect": {"url": PREFECT, "ours": True},
        "mlflow": {"url": MLFLOW, "ours": True},
    }
    content = {"host": host or socket.gethostname(), "ready": ready, "services": services}
    (home / FILE).write_text(json.dumps(content))


@contextmanager
def held(home: Path) -> Iterator[None]:
    """The lock, as a supervisor holds it."""
    with (home / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_services_are_known_while_their_supervisor_lives_on_this_host(tmp_path: Path) -> None:
    assert known_services(tmp_path) is None
    write_services(tmp_path)
    assert known_services(tmp_path) is None  # what a killed one left
    with held(tmp_path):
        found = known_services(tmp_path)
        assert found is not None
        assert (found.ready, found.prefect, found.mlflow) == (True, PREFECT, MLFLOW)
        write_services(tmp_path, host="elsewhere")
        assert known_services(tmp_path) is None
        (tmp_path / FILE).write_text("{")
        assert known_services(tmp_path) is None


def test_the_registry_asks_the_server_that_is_up_and_leaves_files_where_they_always_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    embedded, files = sqlite_url(tmp_path / "mlflow.db"), tmp_path / "mlartifacts"
    write_services(tmp_path)
    assert find_settings(tmp_path).tracking_uri == embedded
    with held(tmp_path):
        up = find_settings(tmp_path)
        assert (up.tracking_uri, up.artifact_root) == (MLFLOW, files)
        write_services(tmp_path, ready=False)
        assert find_settings(tmp_path).tracking_uri == embedded
        monkeypatch.setenv("MLFLOW_TRACKING_URI", MLFLOW)  # as the worker is told
        assert find_settings(tmp_path).artifact_root == files
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
        assert find_settings(tmp_path).artifact_root is None


def test_one_supervisor_for_a_home_and_a_look_at_the_lock_is_none(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(BadInput, match="keeps its services running"),
        only_one(tmp_path),
    ):
        raise AssertionError("two at once")
    look = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    code = f"import os, time; time.sleep(0.5); os.close({look})"
    glance = subprocess.Popen([sys.executable, "-c", code], pass_fds=(look,))
    os.close(look)
    with only_one(tmp_path):
        pass
    assert glance.wait() == 0


def test_what_a_killed_supervisor_left_is_ended_first(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = psutil.Process(left.pid).create_time()
    process = {"what": "prefect", "pid": left.pid, "started": started}
    content = {"services": {"prefect": {"process": process}, "mlflow": {"process": None}}}
    (tmp_path / FILE).write_text(json.dumps(content))
    with only_one(tmp_path):
        assert left.wait(timeout=10) == -signal.SIGKILL
        assert not (tmp_path / FILE).exists()


def test_free_ports_are_all_different_and_a_port_named_twice_is_refused() -> None:
    ports = Ports(prefect=0, mlflow=0, dashboard=0).taken()
    assert len({ports.prefect, ports.mlflow, ports.dashboard, 0}) == 4
    same = free_port()
    with pytest.raises(BadInput, match="another port"):
        Ports(prefect=same, mlflow=same, dashboard=0).taken()


def test_a_taken_port_is_one_line(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = lab.lori("up", "--port-base", "0", "--mlflow-port", port)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"port {port} of 127.0.0.1 for mlflow (Address already in use)")
    assert len(answer.stderr.splitlines()) == 1
    assert not (lab.home / FILE).exists()


def test_a_named_server_that_does_not_answer_is_one_line(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    answer = lab.lori("up", "--port-base", "0")
    assert answer.returncode == 2
    assert "unset PREFECT_API_URL to have one started here" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


class Up:
    """`lori up` in a shell of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.said = lab.folder / "up.out"
        self.noted = lab.folder / "up.err"
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
        }
        with self.said.open("w") as out, self.noted.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "up", "--port-base", "0"],
                env={**kept, "LORI_HOME": str(lab.home), "PYTHONPATH": str(ROOT)},
                cwd=lab.folder,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self.process.poll() is None, self.noted.read_text()
            assert time.monotonic() < deadline, self.noted.read_text() + self.said.read_text()
            time.sleep(0.5)

    def until_healthy(self) -> None:
        self.until(lambda: "all healthy" in self.noted.read_text())

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def services(self) -> dict[str, dict[str, object]]:
        content: dict[str, dict[str, object]] = json.loads((self.lab.home / FILE).read_text())[
            "services"
        ]
        return content

    def pid(self, name: str) -> int:
        process = self.services()[name]["process"]
        assert isinstance(process, dict)
        return int(process["pid"])


@contextmanager
def running(lab: Lab) -> Iterator[Up]:
    up = Up(lab)
    try:
        yield up
    finally:
        up.process.kill()  # what it started is bound to it
        up.process.wait()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return list(psutil.wait_procs(processes, timeout=10)[1])


def learned(lab: Lab) -> list[str]:
    with open_registry(lab.home) as registry:
        filed = registry.versions("tiny") if "tiny" in registry.sequences() else ()
    return [version.task for version in filed if version.state == "registered"]


def proved(lab: Lab) -> bool:
    answer = lab.lori("verify", "tiny", "--json")
    return answer.returncode == 0 and bool(json.loads(answer.stdout)["ok"])


@pytest.mark.usefixtures("with_prefect")
@pytest.mark.slow
def test_a_home_goes_from_run_to_up_and_back_and_nothing_is_left_behind(lab: Lab) -> None:
    write_sequence(lab.folder, ("color",))
    assert lab.lori("run", lab.file).returncode == 0

    with running(lab) as up:
        up.until_healthy()
        said = up.said.read_text().splitlines()
        told = {line.split()[0]: line.split()[1] for line in said}
        assert [line.split()[-1] for line in said[:4]] == ["healthy"] * 4
        assert set(told) == {"prefect", "mlflow", "dashboard", "worker", "token"}
        assert answers(f"{told['dashboard']}/api/sequences", bearer=told["token"])
        assert not answers(f"{told['dashboard']}/api/sequences", bearer="lori_another")
        assert {each.name for each in (lab.home / "logs").glob("up-*.log")} == {
            f"up-{name}.log" for name in ("prefect", "mlflow", "dashboard", "worker", "set-up")
        }

        second = lab.lori("up", "--port-base", "0")
        assert second.returncode == 2
        assert f"process {up.process.pid} keeps its services running" in second.stderr

        # Another shell knows nothing but the home.
        write_sequence(lab.folder, ("color", "size"))
        assert proved(lab)  # filed by `lori run`, read while MLflow's server is up
        submitted = lab.lori("submit", lab.file, "--json")
        assert submitted.returncode == 0, submitted.stderr
        assert {row["task"]: row["new"] for row in json.loads(submitted.stdout)["tasks"]} == {
            "color": False, "size": True,
        }  # fmt: skip

        killed = up.pid("mlflow")
        os.kill(killed, signal.SIGKILL)
        up.until(lambda: "mlflow ended by signal 9; again in 1 s" in up.noted.read_text())
        up.until(lambda: up.said.read_text().count("mlflow ") == 2)
        assert up.pid("mlflow") != killed
        assert answers(f"{told['mlflow']}/health")

        up.until(lambda: learned(lab) == ["color", "size"])
        assert proved(lab)
        family = up.family()
        assert len(family) >= 4
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(timeout=60) == 128 + signal.SIGINT
        assert up.noted.read_text().splitlines()[-1] == "Stopped; every service was ended."
    assert alive(family) == []
    assert not (lab.home / FILE).exists()

    write_sequence(lab.folder, ("color", "size", "animal"))
    again = lab.lori("run", lab.file)
    assert again.returncode == 0, again.stderr
    assert learned(lab) == ["color", "size", "animal"]
    assert proved(lab)
    assert lab.lori("doctor").returncode == 0


@pytest.mark.usefixtures("with_prefect")
@pytest.mark.slow
def test_killing_the_supervisor_while_it_learns_leaves_no_process_and_the_next_goes_on(
    lab: Lab,
) -> None:
    with running(lab) as up:
        up.until_healthy()
        assert lab.lori("submit", lab.file).returncode == 0
        # worker, its flow process, and the training child of that
        up.until(lambda: any("flows.stage_worker" in each.cmdline() for each in _looked(up)))
        family = up.family()
        up.process.kill()
        up.process.wait()
        assert alive(family) == []
    assert known_services(lab.home) is None
    with running(lab) as up:
        up.until(lambda: learned(lab) == ["color", "size"])
        assert proved(lab)
        family = up.family()
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(timeout=60) == 128 + signal.SIGTERM
    assert alive(family) == []


@pytest.mark.slow
def test_a_signal_amid_the_start_ends_what_was_started(lab: Lab) -> None:
    with running(lab) as up:
        up.until(lambda: "dashboard" in up.said.read_text())
        family = up.family()
        assert len(family) >= 3
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(timeout=60) == 128 + signal.SIGTERM
    assert alive(family) == []


def _looked(up: Up) -> list[psutil.Process]:
    return [each for each in up.family() if each.status() != psutil.STATUS_ZOMBIE]


def test_a_service_of_somebody_else_is_neither_started_nor_ended() -> None:
    assert not Service(name="mlflow", url="http://x", healthy=lambda _: True).ours
