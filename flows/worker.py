"""`lori worker`: takes what waits, learns it in processes of its own, and keeps the dispatcher beside it.

Prefect's process worker runs in this process's event loop, in the main thread, because the processes
of its runs are bound to the thread that starts them (`flows.bound`): they die with us, however we die.
On SIGTERM or SIGINT nothing new is taken; runs get the signal, checkpoint, give their arrival back and
leave; what has not left after `LEAVE_SECONDS` is killed.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from uuid import UUID

import httpx
import psutil
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessWorker,
    ProcessWorkerResult,
)

from flows.bound import bound_command
from flows.dispatcher import Calls, run_dispatcher
from flows.following import tagged_sequence
from flows.habits import Habits
from flows.pools import COMMAND, LEARN_ARRIVAL, POOL
from flows.processes import ProcessIdentity, end_together, identify
from flows.queues import SUBMIT_QUEUE, queue_for
from flows.working import holder_name

LEAVE_SECONDS = 10.0
"""What runs get to checkpoint and leave."""

CLOSE_SECONDS = 3.0
"""What Prefect's worker gets to close afterwards: with a server that is away it would try for minutes."""

INSPECTS = "flows.stage_worker"
"""The child with which the dispatcher looks at a base: no run. It dies with us and not before us, or
what was submitted would be refused for it."""

SUBMIT_LIMIT = 4
"""Files that are submitted side by side; each is over in seconds."""

_log = logging.getLogger("lori.worker")


class BoundJob(ProcessJobConfiguration):
    """A run's process: bound to this worker, and Prefect's engine as `flows.flow_process` runs it."""

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Put our command where the pool's template has the plain one."""
        if self.command in (None, COMMAND):
            ours = [sys.executable, "-m", "flows.flow_process"]
            learns = deployment is not None and deployment.entrypoint == LEARN_ARRIVAL
            if learns and (sequence := tagged_sequence(flow_run.tags)) is not None:
                ours.append(sequence)
            self.command = shlex.join(bound_command(*ours))
        super().prepare_for_flow_run(
            flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id
        )


class PatientWorker(ProcessWorker):
    """Prefect's process worker that outlasts its server: an outage ends no run and not the worker."""

    job_configuration = BoundJob
    leaving = False
    run_ended: Callable[[str], None] | None = None
    """Called with the holder's name when a run's process is gone: it may be the turn of another."""

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Beside Prefect's own in its table of workers, not in its place."""
        return "lori-process"

    async def setup(self) -> None:
        """Prepare to run."""
        self._asking = asyncio.Lock()
        await super().setup()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take what waits; nothing once we are leaving, or while the server is away."""
        async with self._asking:  # the loop asks, and whoever just sent something
            if self.leaving:
                return []
            try:
                return await super().get_and_submit_flow_runs()
            except httpx.HTTPError as away:
                _tell_away(away)
                return []

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run one flow run to its end."""
        result = await super().run(flow_run, configuration, task_status)
        if self.run_ended is not None:
            self.run_ended(holder_name(int(result.identifier)))
        return result

    async def sync_with_backend(self) -> None:
        """Say that we are here, if the server is."""
        try:
            await super().sync_with_backend()
        except httpx.HTTPError as away:
            _tell_away(away)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Start one run; a server that went away meanwhile costs that run, not all the others."""
        try:
            await super()._submit_run(flow_run)
        except httpx.HTTPError as away:
            _tell_away(away)
            self._submitting_flow_run_ids.discard(flow_run.id)
            self._release_limit_slot(flow_run.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this worker offers."""

    name: str
    """As Prefect's UI shows it."""

    gpus: tuple[str, ...] = ()
    """Devices its runs see, as CUDA_VISIBLE_DEVICES names them."""

    limit: int = 1
    """Tasks it learns side by side."""

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues it serves: tasks that need no GPU, or as many as it has at most."""
        if not self.gpus:
            return (queue_for(0),)
        return tuple(queue_for(count) for count in range(1, len(self.gpus) + 1))


def default_name() -> str:
    """A name nobody else has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def run_worker(home: Path, host: Host, habits: Habits) -> None:
    """Work until a signal ends it. Call it in the main thread, with Prefect's settings entered.

    Args:
        home: whose registry, and where everything that is learned lies.
        host: what this worker offers.
        habits: of the dispatcher beside it.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(host.gpus)  # none for runs of the cpu queue
    _log_to_stderr()
    workers = [
        PatientWorker(
            work_pool_name=POOL, work_queues=list(host.queues), name=host.name, limit=host.limit
        ),
        # What is over in seconds must not wait behind a training.
        PatientWorker(
            work_pool_name=POOL,
            work_queues=[SUBMIT_QUEUE],
            name=f"{host.name}-submit",
            limit=SUBMIT_LIMIT,
        ),
    ]
    beside = _Beside(home, (*host.queues, SUBMIT_QUEUE), habits)
    asyncio.run(_serve(workers, beside))
    if beside.failure is not None:
        raise beside.failure


class _Beside:
    """The dispatcher's thread."""

    def __init__(self, home: Path, queues: tuple[str, ...], habits: Habits) -> None:
        self._home, self._queues, self._habits = home, queues, habits
        self.calls = Calls()
        self.failure: BaseException | None = None

    def start(self, ended: Callable[[], object], sent: Callable[[], object]) -> None:
        """Start it.

        Args:
            ended: called when it is over, however that came.
            sent: called when it sent something to Prefect.
        """
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._work, ended, sent), name="dispatcher", daemon=True
        ).start()

    def _work(self, ended: Callable[[], object], sent: Callable[[], object]) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(ended)
            stack.push(self._remember)
            run_dispatcher(
                self._home, self.calls, queues=self._queues, habits=self._habits, sent=sent
            )

    def _remember(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep a bug of ours for the main thread, which ends the worker with it."""
        self.failure = error
        return True


async def _serve(workers: Sequence[PatientWorker], beside: _Beside) -> None:
    """Run until a signal, or until a part of it fails."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    asked: set[asyncio.Task[list[FlowRun]]] = set()

    def ask() -> None:
        if workers[0].is_setup:
            asked.add(question := asyncio.create_task(workers[0].get_and_submit_flow_runs()))
            question.add_done_callback(asked.discard)

    # In our context, not in that of the dispatcher's thread: a run is given the settings it is sent
    # with, and the dispatcher's few retries are its own.
    ours = contextvars.copy_context()
    beside.start(
        lambda: loop.call_soon_threadsafe(stop.set),
        lambda: loop.call_soon_threadsafe(ask, context=ours),
    )
    for worker in workers:
        worker.run_ended = beside.calls.ended
    stopping = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(worker.start(printer=_log.info)) for worker in workers]
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    beside.calls.leave()
    for worker in workers:
        worker.leaving = True
    await _end_runs()
    for task in tasks:
        task.cancel()
    _, open_still = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
    if open_still:  # a client that asks a server that is away; nothing of ours is left
        sys.stderr.flush()
        os._exit(0 if beside.failure is None else 1)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _end_runs() -> None:
    """Tell every run to leave; kill what has not in time."""
    runs: list[ProcessIdentity] = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it just ended by itself
            if INSPECTS in each.cmdline():
                continue
            runs.append(identify(each.pid, "run"))
            each.terminate()
    deadline = asyncio.get_running_loop().time() + LEAVE_SECONDS
    while any(run.alive() for run in runs):
        if asyncio.get_running_loop().time() > deadline:
            end_together(runs, grace=0.0)
            return
        await asyncio.sleep(0.05)


def _tell_away(away: httpx.HTTPError) -> None:
    _log.warning("Prefect's server: %s", str(away) or type(away).__name__)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    ours = logging.getLogger("lori")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    ours.propagate = False
