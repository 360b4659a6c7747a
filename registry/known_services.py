"""The services that `lori up` keeps running for a home, as every other command finds them.

`HOME/services.json` says where they answer. It counts while the supervisor holds `HOME/up.lock`,
which the kernel frees however it dies, and on the supervisor's own host: the services listen on
loopback alone.
"""

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "services.json"
LOCK = "up.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownServices:
    """Where the services of a home answer."""

    ready: bool
    """Whether all of them were healthy once."""

    prefect: str | None
    """Prefect's API."""

    prefect_is_ours: bool
    """Whether the supervisor keeps it, and starts it again where it died."""

    mlflow: str | None
    """MLflow's server."""

    mlflow_is_ours: bool
    """Whether that server keeps its store for this home alone, and files in its `mlartifacts`."""

    dashboard: str | None
    """The dashboard and its API."""


def known_services(home: Path) -> KnownServices | None:
    """The services running for a home, on this host; None where nothing is up."""
    try:
        content: dict[str, Any] = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError, json.JSONDecodeError):
        return None
    if content["host"] != socket.gethostname() or not is_up(home):
        return None
    services: dict[str, dict[str, Any]] = content["services"]

    def url(name: str) -> str | None:
        return str(services[name]["url"]) if name in services else None

    return KnownServices(
        ready=bool(content["ready"]),
        prefect=url("prefect"),
        prefect_is_ours="prefect" in services and bool(services["prefect"]["ours"]),
        mlflow=url("mlflow"),
        mlflow_is_ours="mlflow" in services and bool(services["mlflow"]["ours"]),
        dashboard=url("dashboard"),
    )


def is_up(home: Path) -> bool:
    """Whether a supervisor lives that keeps services for a home."""
    try:
        handle = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
