"""Cells of a version scored by further workers, beside the run that learns it.

The run asks for helpers, each a flow run of `evaluate-cells/default`; they score what is free into
`HOME/cells` and leave. The run scores as well, waits for what helpers hold, and takes over what a dead
one held. Without a worker that is free, or without such a deployment, it scores everything itself.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.queues import queue_for
from flows.running import Running
from flows.stage_process import LEAVE_SECONDS, StageProcess
from flows.stage_protocol import RESULT, SPEC
from lori_core.config import TaskConfig
from lori_core.digests import sha256_bytes
from registry.home import find_home

DEPLOYMENT = "evaluate-cells/default"

SPEC_SECONDS = 60.0
"""How long a helper that came early waits to be told what to score."""


@flow(name="evaluate-cells", flow_run_name="evaluate-{folder}", validate_parameters=False)
def evaluate_cells(folder: str) -> str:
    """Score cells that nobody scores yet, of the order in `HOME/stages/<folder>`.

    The home is the one of the run that asked: a folder both hosts share, at the same path.
    """
    home = find_home()
    order = home / "stages" / folder
    deadline = time.monotonic() + SPEC_SECONDS
    while not (order / SPEC).is_file() and time.monotonic() < deadline:
        time.sleep(0.5)
    if (order / RESULT).is_file() or not (order / SPEC).is_file():
        return "nothing to do"
    spec = json.loads((order / SPEC).read_text(encoding="utf-8"))
    own = f"helper-{sha256_bytes(f'{os.uname().nodename}-{os.getpid()}'.encode())[:12]}"
    with StageProcess(home, own, grace=LEAVE_SECONDS) as stages:
        told = {**spec, "helper": True}
        found = stages.run("evaluate", order / own, told, lambda progress: None)
    return f"{len(found['results'])} of {len(spec['cells'])} cells known when it left"


@contextmanager
def helpers(run: Running, task: TaskConfig, folder: str) -> Iterator[None]:
    """While the block runs, others score with us as the task's `evaluate_workers` says."""
    wanted = task.resources.evaluate_workers - 1
    if wanted == 0:
        yield
        return
    with get_client(sync_client=True) as client:
        asked = _ask(client, run, task, folder, wanted)
        try:
            yield
        finally:
            _dismiss(client, asked)


def _ask(
    client: SyncPrefectClient, run: Running, task: TaskConfig, folder: str, wanted: int
) -> list[UUID]:
    """Ask for helpers, each on the queue of one device: scoring uses no more."""
    queue = queue_for(min(1, task.resources.gpus))
    made: list[UUID] = []
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        for _ in range(wanted):
            helper = client.create_flow_run_from_deployment(
                deployment.id, parameters={"folder": folder}, work_queue_name=queue
            )
            made.append(helper.id)
    except ObjectNotFound:
        run.narrator.say(f"  {task.name}: no workers here (`lori up`); all cells are scored by us")
    except httpx.HTTPError as away:  # Prefect's own errors of answers are among them
        run.narrator.say(f"  {task.name}: Prefect was not to be asked for helpers ({away})")
    return made


def _dismiss(client: SyncPrefectClient, asked: list[UUID]) -> None:
    """Helpers that never began need not begin; those that did leave by themselves."""
    for each in asked:
        # Who finds nothing to do leaves: a server that is away must fail no evaluation.
        with contextlib.suppress(ObjectNotFound, httpx.HTTPError):
            state = client.read_flow_run(each).state
            if state is None or state.is_scheduled() or state.is_pending():
                client.set_flow_run_state(
                    each, Cancelled(message="every cell is scored"), force=True
                )
