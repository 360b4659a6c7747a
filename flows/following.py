"""A process that learned its arrival goes on with the next one of the sequence, if that is its turn.

To start a process costs seconds, its training child and the base some more; a sequence of short tasks
would mostly wait for them. Our rows decide (`Arrivals.learned_and_next`): the same order and rules as
for what the dispatcher gives out, a token and a lease of its own, and nothing at all while another
sequence waits for a worker. In Prefect each arrival has a run of its own, of the same deployment.
"""

import os
import signal
from collections.abc import Iterable
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending

from flows.pools import POOL, TAG
from flows.prefect_api import prefect_api
from flows.stage_process import StageProcess
from flows.workshop import Workshop
from lori_core.errors import BadInput, LoriError, Unavailable
from registry.arrival_records import Arrival
from registry.arrivals import Arrivals
from registry.fence import Fence
from registry.home import find_home
from registry.store import open_registry


class Following:
    """The runs of this process, one after another. Use as a context manager, in the main thread."""

    def __init__(self, early: StageProcess | None = None) -> None:
        """Use a training child that was started early."""
        self.shop = Workshop(early)
        self.leaving = False
        """SIGTERM came between two runs, or before Prefect listened for it."""
        self._next: tuple[Arrival, FlowRun] | None = None

    def may_go_on(self, arrivals: Arrivals, fence: Fence) -> bool:
        """Whether there is something to go on with, and nobody paused our queue in Prefect.

        Raises:
            FenceLost: the turn is over.
        """
        run = _own_run()
        if self.leaving or run is None or run.work_pool_name != POOL:
            return False  # a run of a cluster was given a machine for one arrival
        return arrivals.goes_on(fence) and not _paused(run)

    def go_on_with(self, arrival: Arrival) -> None:
        """This one is ours and comes next."""
        run = _own_run()
        assert run is not None
        self._next = arrival, run

    def next_run(self) -> str | None:
        """Have a flow run for what comes next; its id, or None where nothing does, or we have to leave."""
        if self._next is None:
            return None
        (arrival, before), self._next = self._next, None
        fence = Fence(arrival=arrival.id, token=arrival.token)
        try:
            with open_registry(find_home()) as registry:
                arrivals = Arrivals(registry)
                why = "its worker was stopped"
                if not self.leaving:
                    try:
                        made = _begun_run(arrival, before)
                        arrivals.note_flow_run(arrival.id, arrival.token, made)
                        return made
                    except (BadInput, Unavailable, ObjectNotFound) as refusal:
                        why = str(refusal)
                arrivals.give_back(fence, why, wait=timedelta(0))
        except LoriError:  # then its lease runs out
            return None
        return None

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM while no run of ours listens for it."""
        self.leaving = True

    def __enter__(self) -> Self:
        """From here on runs of this process may go on."""
        global _here
        _here = self
        signal.signal(signal.SIGTERM, self.leave)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is kept for the next."""
        global _here
        _here = None
        self.shop.close()


_OF = f"{TAG}-"
_here: Following | None = None


def following() -> Following | None:
    """What this process goes on with; None where it was started for one flow run alone."""
    return _here


def _own_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return None if context is None else context.flow_run


def _paused(run: FlowRun) -> bool:
    """Whether somebody paused the pool or our queue in Prefect; True too where it cannot say."""
    try:
        with prefect_api() as prefect:
            if prefect.read_work_pool(POOL).is_paused:
                return True
            assert run.work_queue_name is not None
            return prefect.read_work_queue_by_name(run.work_queue_name, POOL).is_paused
    except (BadInput, Unavailable, ObjectNotFound):
        return True


def run_key(arrival: Arrival) -> str:
    """By which Prefect makes one run of one dispatch. A registry that was restored from a backup gives
    numbers and tokens out again: so the time is part of it."""
    assert arrival.dispatched is not None
    return f"lori-{arrival.id}-{arrival.token}-{arrival.dispatched.timestamp()}"


def tagged_sequence(tags: Iterable[str]) -> str | None:
    """Which sequence the run of these tags learns, if it learns one."""
    return next((tag.removeprefix(_OF) for tag in tags if tag.startswith(_OF)), None)


def make_run(
    prefect: SyncPrefectClient,
    deployment_id: UUID,
    arrival: Arrival,
    state: State[object] | None = None,
) -> FlowRun:
    """Have the one flow run of an arrival's dispatch: made now, or by whoever asked before.

    Args:
        prefect: its server.
        deployment_id: of what runs it.
        arrival: that was given out.
        state: it begins in; None: it waits for a worker.
    """
    return prefect.create_flow_run_from_deployment(
        deployment_id,
        state=state,
        name=f"{arrival.sequence}-{arrival.task}-{arrival.id}.{arrival.token}",
        parameters={"arrival": arrival.id, "token": arrival.token},
        idempotency_key=run_key(arrival),
        work_queue_name=arrival.queue,
        tags=[TAG, f"{_OF}{arrival.sequence}"],
    )


def _begun_run(arrival: Arrival, before: FlowRun) -> str:
    """A flow run beside the one before, begun: no worker takes it up."""
    assert before.deployment_id is not None
    with prefect_api() as prefect:
        made = make_run(
            prefect,
            before.deployment_id,
            arrival,
            Pending(message=f"goes on after {before.name}"),
        )
        prefect.update_flow_run(made.id, infrastructure_pid=str(os.getpid()))
    return str(made.id)
