"""What has to be settled before Prefect is imported for a worker: its environment, and its server."""

import os
import re

from flows.habits import Habits
from flows.prefect_server import client_settings
from lori_core.errors import BadInput, Unavailable
from registry.home import HOME_VARIABLE, find_home, prepare_home

POLL_SECONDS = "2"
"""Between two questions for runs: most of what a short task waits."""


def start_worker(
    *, gpus: str | None, limit: int, name: str | None, habits: Habits | None = None
) -> None:
    """Work on this home until a signal ends it. Call it in the main thread.

    Args:
        gpus: devices, separated by commas; None for none.
        limit: tasks that are learned side by side.
        name: as Prefect shows it; None for one nobody else has.
        habits: of its dispatcher; None for the usual ones.

    Raises:
        BadInput: devices or a name that are none.
        Unavailable: no Prefect server is known.
    """
    devices = _devices(gpus)
    if name is not None and not re.fullmatch(r"[^/%\s]{1,100}", name):
        raise BadInput(f"--name {name!r}", "up to 100 characters without spaces, / and %")
    home = prepare_home(find_home())
    os.environ.update(client_settings(home))
    os.environ[HOME_VARIABLE] = str(home)  # runs begin in folders of their own
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", POLL_SECONDS)
    from prefect.settings import PREFECT_API_URL, temporary_settings  # after its environment

    from flows.prefect_api import REMEDY, prefect_url

    url = prefect_url()
    if url is None:
        raise Unavailable("Prefect: no server is named", "a Prefect server", REMEDY)
    with temporary_settings(updates={PREFECT_API_URL: url}):
        from flows.worker import Host, default_name, run_worker

        host = Host(name=name or default_name(), gpus=devices, limit=limit)
        run_worker(home, host, habits or Habits())


def _devices(gpus: str | None) -> tuple[str, ...]:
    if gpus is None:
        return ()
    devices = tuple(part.strip() for part in gpus.split(","))
    if not all(re.fullmatch(r"[0-9]+|(GPU|MIG)-[0-9a-zA-Z-]+", part) for part in devices):
        raise BadInput(f"--gpus {gpus}", "device numbers such as 0,1")
    if len(set(devices)) < len(devices):
        raise BadInput(f"--gpus {gpus}", "each device once")
    return devices
