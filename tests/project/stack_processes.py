"""The services of docker-compose.yml as processes: their commands, environments and health checks.

Only places change: a service's host and port become this host's and a free one, a path of the
container becomes a folder of the test's. A process gets the environment the image and the file give
it, and nothing of ours.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.project.compose_file import ROOT, compose, dockerfile
from tests.project.whole_postgresql import Server

BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """What runs of it."""

    folder: Path
    variables: dict[str, str]
    database: Server

    ports: dict[str, int]
    """Ports of the containers, and what they are here."""

    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def services(self) -> dict[str, Any]:
        """As the file has them with the variables of now."""
        found: dict[str, Any] = compose(self.variables)["services"]
        return found

    def here(self, text: str) -> str:
        """A text with the container's places replaced by ours, each once."""
        places = {
            "/var/lib/lori": "home",
            "/var/lib/mlflow": "artifacts",
            "/etc/lori/mlflow-auth.ini": "mlflow-auth.ini",
            "/files": "files",
            "/drop": "drop",
            "/tmp": "tmp",
        }
        paths = "|".join(map(re.escape, places))
        ports = "|".join(self.ports)
        pattern = re.compile(
            rf"(?P<path>(?<![\w/])(?:{paths})(?![\w-]))"
            rf"|(?P<host>\b(?:postgres|prefect|mlflow)):(?P<at>{ports})\b"
            rf"|(?P<port>(?<![\d.])(?:{ports})(?![\d.]))"
        )

        def ours(match: re.Match[str]) -> str:
            if path := match["path"]:
                return str(self.folder / places[path])
            if match["host"]:
                return f"127.0.0.1:{self.ports[match['at']]}"
            return str(self.ports[match["port"]])

        return pattern.sub(ours, text)

    def environment(self, service: str) -> dict[str, str]:
        """What its container would have, and nothing else."""
        given = {**dockerfile().environment, **self.services[service].get("environment", {})}
        here = {name: self.here(str(value)) for name, value in given.items()}
        if not self.database.whole and service == "prefect":
            here["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = (
                f"sqlite+aiosqlite:///{self.folder}/prefect.db"
            )
        return here | {"PATH": f"{BIN}:{self.database.tools}:/usr/bin:/bin"}

    def command(self, words: list[str]) -> list[str]:
        """A command with our places."""
        return [self.here(str(word)) for word in words]

    def start(self, service: str) -> None:
        """`docker compose up SERVICE`, without waiting."""
        log = (self.folder / f"{service}.log").open("ab")
        with log:
            self.running[service] = subprocess.Popen(
                self.command(self.services[service]["command"]),
                env=self.environment(service),
                cwd=self.folder / "tmp",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_healthy(self, service: str, *, slow: float = 3.0) -> float:
        """Ask its health check as Docker would; the seconds it took.

        Args:
            service: one with a health check.
            slow: how much more time than the file says this host gets.
        """
        check = self.services[service]["healthcheck"]
        interval = _seconds(check["interval"])
        allowed = slow * (_seconds(check["start_period"]) + interval * check["retries"])
        assert check["test"][0] == "CMD"
        begun = time.monotonic()
        while time.monotonic() - begun < allowed:
            process = self.running.get(service)
            assert process is None or process.poll() is None, (
                f"{service} ended: {self.log(service)}"
            )
            ran = subprocess.run(
                self.command(check["test"][1:]),
                env=self.environment(service),
                cwd=self.folder / "tmp",
                capture_output=True,
                timeout=slow * _seconds(check["timeout"]),
            )
            if ran.returncode == 0:
                return time.monotonic() - begun
            time.sleep(min(interval, 1))
        raise TimeoutError(f"{service} is not healthy: {self.log(service)}")

    def run(self, service: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`docker compose run --rm SERVICE WORDS`, or `exec`."""
        return subprocess.run(
            self.command(list(words)),
            env=self.environment(service) | more,
            cwd=self.folder / "tmp",
            capture_output=True,
            text=True,
            timeout=300,
        )

    def stop(self, service: str) -> float:
        """`docker compose stop SERVICE`: SIGTERM; the seconds it took, its exit code in `running`."""
        process = self.running[service]
        begun = time.monotonic()
        process.terminate()
        process.wait(timeout=120)
        return time.monotonic() - begun

    def log(self, service: str) -> str:
        """The end of what it said."""
        path = self.folder / f"{service}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def end(self) -> None:
        """Leave no process."""
        for process in self.running.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


@contextmanager
def stack(folder: Path, database: Server, variables: Mapping[str, str]) -> Iterator[Stack]:
    """The stack over a PostgreSQL server.

    Its databases are made by the file's own script, and from then on it asks for passwords.
    """
    for name in ("home", "artifacts", "files", "drop", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    with forwarded(database.data / ".s.PGSQL.5432") as port:
        ports = {"5432": port} | {each: free_port() for each in ("4200", "5000", "8321")}
        made = Stack(folder, dict(variables), database, ports)
        source = (ROOT / "deploy" / "mlflow-auth.ini").read_text(encoding="utf-8")
        (folder / "mlflow-auth.ini").write_text(made.here(source), encoding="utf-8")
        _make_databases(made, database.data)
        try:
            yield made
        finally:
            made.end()


def _make_databases(made: Stack, data: Path) -> None:
    """As the postgres image does on an empty volume, over its socket."""
    mounted = made.services["postgres"]["volumes"]
    script = next(each for each in mounted if "/docker-entrypoint-initdb.d/" in each).split(":")[0]
    socket_only = {"PGHOST": str(data), "PGPORT": "5432"}
    subprocess.run(
        [ROOT / script],
        env=made.environment("postgres") | socket_only,
        check=True,
        capture_output=True,
        text=True,
    )
    (data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
    time.sleep(1)


@contextmanager
def forwarded(place: Path) -> Iterator[int]:
    """A port of this host whose connections go to a socket file."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while got := source.recv(65536):
                sink.sendall(got)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(place))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.close()


def _seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", span).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "m": 60}[unit]
