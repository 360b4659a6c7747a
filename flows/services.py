"""The services of one home on one host: what each is started with, where it answers, how it is asked.

MLflow's server, Prefect's server, the dashboard and a worker. Where `PREFECT_API_URL` or
`MLFLOW_TRACKING_URI` name a server that runs already, that one is used and none is started. Ours
listen on loopback alone, and each is one process.
"""

import os
import secrets
import socket
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flows.pools import POOL
from flows.prefect_server import embedded_settings, free_port, server_command
from flows.up_dashboard import TOKEN_VARIABLE
from flows.worker_health import NO_ANSWER, online
from lori_core.errors import BadInput
from registry.known_services import KnownServices as KnownServices
from registry.known_services import known_services as known_services
from registry.settings import TRACKING_VARIABLE, Settings

PREFECT_VARIABLE = "PREFECT_API_URL"
HOST = "127.0.0.1"

SMALL = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Servers compute nothing: no arena of memory for each thread, no pools of threads."""

PREFECT_CALM = {
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",  # nothing of ours is paused
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "15",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "30",
}
"""How often the server's services look: rarer than by default where only tidying waits for it. When
a schedule fires, and when an event is acted upon, is untouched."""

WORKER_GRACE = 30.0
"""Seconds for a worker to leave: its runs checkpoint within ten."""

SERVER_GRACE = 10.0

ANSWER_SECONDS = 5.0
"""A server that is asked has them to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, as it is to run."""

    name: str

    url: str
    """Where it answers, as people and other commands are told; for a worker, where Prefect shows it."""

    healthy: Callable[[datetime], bool]
    """Asks it; given when its process was started."""

    command: tuple[str, ...] = ()
    """What starts it; empty where somebody else keeps it running."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside ours."""

    after: tuple[str, ...] = ()
    """Services that must be healthy before it is started."""

    wave: int = 0
    """Those of a higher wave are ended first."""

    grace: float = SERVER_GRACE
    """Seconds it is given to leave."""

    once: bool = False
    """It does its work and ends; healthy once it ended well."""

    silence: float = 60.0
    """Seconds without an answer after which it counts as dead."""

    @property
    def ours(self) -> bool:
        """Whether we start it and end it."""
        return bool(self.command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the services listen; 0 takes a free port."""

    prefect: int = 4200
    mlflow: int = 5000
    dashboard: int = 8642

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        """Three in a row; all free ones for 0."""
        step = 1 if base else 0
        return cls(prefect=base, mlflow=base + step, dashboard=base + 2 * step)

    def taken(self) -> "Ports":
        """The same with every 0 replaced.

        Raises:
            BadInput: a port is in use, or named twice.
        """
        named = {"prefect": self.prefect, "mlflow": self.mlflow, "dashboard": self.dashboard}
        given: dict[str, int] = {}
        for name, port in named.items():
            if port and port in given.values():
                raise BadInput(f"--{name}-port {port}", "another port for each service")
            if port:
                _refuse_taken(name, port)
            given[name] = port
        for name in given:
            while given[name] == 0 or list(given.values()).count(given[name]) > 1:
                given[name] = free_port()
        return Ports(**given)


def services_of(
    home: Path, settings: Settings, ports: Ports, *, gpus: str | None, limit: int | None
) -> tuple[Service, ...]:
    """Everything a home needs to run what is submitted.

    Args:
        home: the home folder.
        settings: where its stores are, as the environment says.
        ports: none of them 0.
        gpus: devices of the worker, as `lori worker` takes them.
        limit: tasks its worker runs side by side.
    """
    prefect = _prefect(home, ports.prefect)
    mlflow = _mlflow(home, settings, ports.mlflow)
    clients = {
        **_client_settings(home),
        PREFECT_VARIABLE: prefect.url,
        TRACKING_VARIABLE: mlflow.url,
        "LORI_HOME": str(home),
    }
    return (
        prefect,
        mlflow,
        _dashboard(home, ports.dashboard, clients),
        _set_up(prefect.url, clients),
        _worker(prefect.url, clients, gpus=gpus, limit=limit),
    )


def answers(url: str, *, bearer: str | None = None) -> bool:
    """Whether a server answers a GET with success, soon."""
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    request = urllib.request.Request(url, headers=headers)
    try:
        with _past_proxies().open(request, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except NO_ANSWER:
        return False


def worker_online(api: str, name: str, since: datetime) -> bool:
    """Whether Prefect counts a worker of our pool as there, and heard of it since then."""
    return any(
        each["name"] == name and datetime.fromisoformat(each["last_heartbeat_time"]) >= since
        for each in online(api, _past_proxies(), ANSWER_SECONDS)
    )


def _past_proxies() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _prefect(home: Path, port: int) -> Service:
    if named := os.environ.get(PREFECT_VARIABLE):
        return Service(name="prefect", url=named, healthy=lambda _: answers(f"{named}/health"))
    url = f"http://{HOST}:{port}"
    return Service(
        name="prefect",
        url=f"{url}/api",
        healthy=lambda _: answers(f"{url}/api/health"),
        command=(*server_command(port), "--timeout-graceful-shutdown", "5"),
        environment={
            **SMALL,
            **PREFECT_CALM,
            **embedded_settings(home),
            "PREFECT_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),
            "PREFECT_UI_API_URL": f"{url}/api",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT__SERVER_FINAL": "1",
        },
    )


def _mlflow(home: Path, settings: Settings, port: int) -> Service:
    uri = settings.tracking_uri
    if uri.startswith(("http://", "https://")):
        return Service(name="mlflow", url=uri, healthy=lambda _: answers(f"{uri}/health"))
    url = f"http://{HOST}:{port}"
    return Service(
        name="mlflow",
        url=url,
        healthy=lambda _: answers(f"{url}/health"),
        command=(sys.executable, "-m", "registry.mlflow_server", str(home), str(port)),
        environment={**SMALL, "LORI_HOME": str(home), TRACKING_VARIABLE: uri},
    )


def _dashboard(home: Path, port: int, clients: Mapping[str, str]) -> Service:
    url = f"http://{HOST}:{port}"
    return Service(
        name="dashboard",
        url=url,
        healthy=lambda _: answers(f"{url}/healthz"),
        command=(sys.executable, "-m", "flows.up_dashboard", str(home), str(port)),
        environment={**SMALL, **clients, TOKEN_VARIABLE: f"lori_{secrets.token_urlsafe(32)}"},
        wave=1,
    )


def _set_up(api: str, clients: Mapping[str, str]) -> Service:
    return Service(
        name="set-up",
        url=api,
        healthy=lambda _: False,
        command=(sys.executable, "-m", "flows.up_prefect"),
        environment={**SMALL, **clients},
        after=("prefect",),
        once=True,
    )


def _worker(
    api: str, clients: Mapping[str, str], *, gpus: str | None, limit: int | None
) -> Service:
    name = f"up-{socket.gethostname()}"
    devices = () if gpus is None else ("--gpus", gpus)
    side_by_side = () if limit is None else ("--limit", str(limit))
    return Service(
        name="worker",
        url=f"{api.removesuffix('/api')}/work-pools/work-pool/{POOL}",
        healthy=lambda since: worker_online(api, name, since),
        command=(
            *(sys.executable, "-m", "flows.cli", "worker", "--name", name),
            *(*devices, *side_by_side),
        ),
        environment=dict(clients),
        after=("prefect",),
        wave=2,
        grace=WORKER_GRACE,
        silence=180.0,
    )


def _client_settings(home: Path) -> dict[str, str]:
    """For who asks the servers: as the embedded default, but what runs log is shown by Prefect too."""
    settings = embedded_settings(home)
    del settings["PREFECT_LOGGING_TO_API_ENABLED"]
    return settings


def _refuse_taken(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise BadInput(
                f"port {port} of {HOST} for {name} ({error.strerror})",
                "a free one",
                f"--{name}-port 0 takes any, --port-base moves all of them.",
            ) from error
