"""The dispatcher: looks every few seconds at what came, what is over, and whose turn it is.

Any number of them may run at once, one beside each worker: the registry decides each step in one
transaction, and Prefect makes one flow run of one key. A store or server that is away is logged and
asked again at the next look.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Crashed

from flows.following import make_run
from flows.habits import Habits
from flows.pools import POOL, apply
from flows.prefect_api import prefect_api
from flows.preparing import Preparing
from flows.queues import CPU_QUEUE
from flows.second_fence import empty
from lori_core.errors import BadInput, Unavailable
from registry.arrival_records import OUT, Arrival
from registry.arrivals import Arrivals
from registry.store import Registry, open_registry

GLANCE = 1.0
"""Seconds between two questions to our own store, one select each, whether a look is worth it now."""

RETRIES = 1
"""Of one request, which takes seconds: the next look is a retry too."""

LEARN = "learn-arrival"

CLUSTER_PATIENCE = timedelta(minutes=30)
"""How long a run may take to begin where a cluster has to find a machine and fetch an image."""

DEPLOYMENT = f"{LEARN}/default"

_PAGE = 100
log = logging.getLogger("lori.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one look did: numbers of submissions and arrivals."""

    prepared: tuple[int, ...]
    """Submissions that were accepted or refused."""

    expired: tuple[int, ...]
    """Arrivals whose lease was over."""

    lost: tuple[int, ...]
    """Arrivals whose flow run ended without a word."""

    sent: tuple[int, ...]
    """Arrivals whose flow run was made."""


class Dispatcher:
    """One dispatcher on one home."""

    def __init__(self, registry: Registry, home: Path, habits: Habits) -> None:
        """Nothing is asked yet."""
        self._habits = habits
        self._arrivals = Arrivals(registry)
        self._preparing = Preparing(registry, home)
        self._seen: dict[UUID, float] = {}  # states of flow runs: when we saw them first

    def tick(self, prefect: SyncPrefectClient, gone: Collection[str] = ()) -> Tick:
        """One look.

        Args:
            prefect: its server.
            gone: holders of arrivals whose process is known to have ended.

        Raises:
            Unavailable: our store is away.
        """
        return Tick(
            prepared=self._preparing.look(),
            expired=tuple(each.id for each in self._arrivals.expire()),
            lost=tuple(self._reconcile(prefect, gone)),
            sent=tuple(self._send(prefect)),
        )

    def pressing(self) -> bool:
        """Whether a look would find something to prepare or to give out.

        Raises:
            Unavailable: our store is away.
        """
        return self._preparing.pressing() or self._arrivals.due()

    def close(self) -> None:
        """Wait for the submission that is being prepared, if one is."""
        self._preparing.close()

    # What is over

    def _reconcile(self, prefect: SyncPrefectClient, gone: Collection[str]) -> Iterator[int]:
        """Take the turn from arrivals whose flow run is over, or will never begin."""
        out = self._arrivals.arrivals(states=OUT)
        runs = _runs(prefect, [UUID(each.flow_run_id) for each in out if each.flow_run_id])
        ages = self._ages(runs.values())
        for arrival in out:
            run = runs.get(UUID(arrival.flow_run_id)) if arrival.flow_run_id else None
            if run is not None and _cancelled_there(run) and self._cancelled_at_once(arrival):
                continue
            if arrival.state == "running" and arrival.holder in gone:
                why: str | None = "its process ended without a word"
            elif arrival.flow_run_id is None:
                continue  # it was just given out, or taken by a run that goes on
            else:
                ours = run is None or run.work_pool_name == POOL
                patience = self._habits.patience if ours else CLUSTER_PATIENCE
                why = _why_over(arrival, run, ages, patience)
            if why is None:
                continue
            if run is not None and run.state is not None and not run.state.is_final():
                prefect.set_flow_run_state(run.id, Crashed(message=why), force=True)
            if self._arrivals.lost(arrival.id, arrival.token, why).token != arrival.token:
                yield arrival.id

    def _ages(self, runs: Iterable[FlowRun]) -> dict[UUID, timedelta]:
        """How long we have seen flow runs in their state: no clock of another host is asked."""
        now = time.monotonic()
        states = [run.state.id for run in runs if run.state is not None]
        self._seen = {each: self._seen.get(each, now) for each in states}
        return {each: timedelta(seconds=now - since) for each, since in self._seen.items()}

    def _cancelled_at_once(self, arrival: Arrival) -> bool:
        """Cancel an arrival whose flow run was cancelled in Prefect; False where its run ends first."""
        if arrival.cancel_requested:
            return False
        try:
            return self._arrivals.cancel(arrival.id, "Prefect").state == "cancelled"
        except BadInput:  # it ended just now
            return False

    # Whose turn it is

    def _send(self, prefect: SyncPrefectClient) -> Iterator[int]:
        """Give out what may go, and make its flow runs."""
        given = self._arrivals.dispatch()
        if not given:
            return
        for arrival in given:
            empty(prefect, arrival.sequence)
            run = make_run(prefect, _deployment(prefect, arrival.queue), arrival)
            self._arrivals.note_flow_run(arrival.id, arrival.token, str(run.id))
            yield arrival.id


class Calls:
    """What other threads ask of a dispatcher."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.leaving = False
        self._called = threading.Event()
        self._gone: SimpleQueue[str] = SimpleQueue()

    def leave(self) -> None:
        """End it, within one look."""
        self.leaving = True
        self._called.set()

    def ended(self, holder: str) -> None:
        """Look now: this process, which may have held an arrival, is over."""
        self._gone.put(holder)
        self._called.set()

    def gone(self) -> set[str]:
        """The processes that ended since this was asked last."""
        return {self._gone.get() for _ in range(self._gone.qsize())}

    def wait(self, seconds: float) -> bool:
        """Until it is called (then True), or for so long."""
        called = self._called.wait(seconds)
        self._called.clear()
        return called


def run_dispatcher(
    home: Path,
    calls: Calls,
    *,
    queues: tuple[str, ...],
    habits: Habits,
    sent: Callable[[], object],
) -> None:
    """Look every few seconds until told to leave. Whatever is away is logged and asked again.

    Args:
        home: whose registry.
        calls: what other threads ask of it.
        queues: that this worker serves; they are made on Prefect's server.
        habits: how it works.
        sent: called after each look that sent something to Prefect.
    """
    with (
        temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: RETRIES}),
        open_registry(home) as registry,
        closing(Dispatcher(registry, home, habits)) as dispatcher,
    ):
        gone: set[str] = set()
        while not calls.leaving:
            try:
                with prefect_api() as prefect:
                    apply(prefect, queues=queues, learn_arrival=habits.learn_arrival)
                    while not calls.leaving:
                        gone |= calls.gone()
                        tick = dispatcher.tick(prefect, gone)
                        gone.clear()
                        _log_tick(tick)
                        if tick.sent:
                            sent()
                        _rest(dispatcher, calls, habits.look)
            except (Unavailable, ObjectNotFound) as away:  # or somebody deleted what we applied
                log.warning("%s", " ".join(str(away).split()))
                calls.wait(habits.look)


def _rest(dispatcher: Dispatcher, calls: Calls, seconds: float) -> None:
    """Until the next look is due, or is called for, or something came that needs one."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if calls.wait(min(left, GLANCE)) or dispatcher.pressing():
            return


def _deployment(prefect: SyncPrefectClient, queue: str) -> UUID:
    """What runs arrivals of a queue: a cluster's deployment where `lori pool` made one."""
    if queue != CPU_QUEUE:
        with suppress(ObjectNotFound):
            return prefect.read_deployment_by_name(f"{LEARN}/{queue}").id
    return prefect.read_deployment_by_name(DEPLOYMENT).id


def _log_tick(tick: Tick) -> None:
    done = {
        "prepared": tick.prepared,
        "expired": tick.expired,
        "lost": tick.lost,
        "sent": tick.sent,
    }
    told = "; ".join(f"{verb} {', '.join(map(str, what))}" for verb, what in done.items() if what)
    if told:
        log.info("%s", told)


def _runs(prefect: SyncPrefectClient, wanted: list[UUID]) -> dict[UUID, FlowRun]:
    """Those of the flow runs that Prefect knows."""
    found: list[FlowRun] = []
    for start in range(0, len(wanted), _PAGE):
        these = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + _PAGE]))
        found += prefect.read_flow_runs(
            flow_run_filter=these, sort=FlowRunSort.ID_DESC, limit=_PAGE
        )
    return {run.id: run for run in found}


def _cancelled_there(run: FlowRun) -> bool:
    """Whether somebody cancelled a flow run in Prefect. Runs that end under another name gave their
    arrival back, or had it no more."""
    if run.state is None:
        return False
    cancelled = run.state.is_cancelled() and run.state.name == Cancelled().name
    return run.state.is_cancelling() or cancelled


def _why_over(
    arrival: Arrival, run: FlowRun | None, ages: Mapping[UUID, timedelta], patience: timedelta
) -> str | None:
    """Why the flow run of an arrival that is out will say nothing any more; None where it may."""
    if run is None or run.state is None:
        return "Prefect does not know its flow run any more"
    state = run.state
    if state.is_final():
        told = f": {state.message}" if state.message else ""
        return f"its flow run ended as {state.name}{told}"
    begun = state.type in (StateType.PENDING, StateType.RUNNING)
    if begun and arrival.state == "dispatched" and ages[state.id] > patience:
        return f"its flow run is {state.name} and took nothing up within {patience.seconds} s"
    return None
