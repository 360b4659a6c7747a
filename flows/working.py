"""Work on one arrival under its fence: take it, keep it, learn it, and say in its row how that ended.

The row is told before Prefect is, and it is the row that counts: whatever ends this process without
a word leaves a lease that runs out, and the dispatcher gives the arrival out again.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from prefect.states import Cancelled, Completed, Crashed, Failed

from flows.announcing import announce
from flows.following import Following, following
from flows.lease import LATE, Lease, Pace
from flows.retrying import Trouble, oom_kills, trouble_of
from flows.telling import Telling
from flows.workshop import Workshop
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.arrival_records import Arrival
from registry.arrivals import Arrivals
from registry.fence import Fence, FenceLost
from registry.home import find_home
from registry.store import Registry, open_registry
from registry.turns import wait_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One arrival, ours for now."""

    home: Path

    arrival: Arrival

    registry: Registry
    """Refuses every write once the arrival is not ours any more."""

    telling: Telling
    """Where progress is told."""

    ours: Callable[[], None]
    """Raises FenceLost unless the arrival is still ours."""

    shop: Workshop
    """What may stay open for the next arrival of the sequence."""


Learn = Callable[[Work], int]
"""Learns an arrival; the version it became."""


def work_on(arrival: int, token: int, learn: Learn, *, pace: Pace | None = None) -> State[Any]:
    """Learn one arrival, if it is still this token's turn.

    Call it in the main thread of a flow that a worker started: SIGTERM ends it in an orderly way.

    Args:
        arrival: number of the arrival.
        token: it was given out under.
        learn: does the work.
        pace: how often the lease is renewed; None for the usual.

    Returns:
        The state for Prefect: completed; failed with the reason; or cancelled, under a name that says
        whether it was cancelled, given back, or not its turn.
    """
    home = find_home()
    pace = pace or Pace()
    more = following()
    with ExitStack() as stack:
        shop = stack.enter_context(Workshop()) if more is None else more.shop
        try:
            registry = stack.enter_context(open_registry(home))
            arrivals = Arrivals(registry, lease=timedelta(seconds=pace.lease))
            fence = arrivals.take(arrival, token, _holder())
        except FenceLost as lost:
            return _not_its_turn(lost)
        except Unavailable as away:  # the dispatcher finds a run that is over and took nothing up
            return Crashed(message=str(away))
        telling = Telling(home / "logs" / f"arrival-{arrival}.log")
        telling.say(f"taken with token {token} by {_holder()}")
        work = Work(
            home=home,
            arrival=arrivals.arrival(arrival),
            registry=registry.fenced(fence),
            telling=telling,
            ours=lambda: _renew(arrivals, fence, telling),
            shop=shop,
        )
        killed_before = oom_kills()
        with Lease(
            arrivals,
            fence,
            progress=telling.progress_now,
            beat=_beat(),
            say=telling.say,
            pace=pace,
            most=_most_seconds(work.arrival),
        ) as lease:
            try:
                if more is not None and more.leaving:  # told so before Prefect listened
                    raise TerminationSignal(signal.SIGTERM)
                shop.take_slot(work.arrival.sequence, work.ours)
                version = learn(work)
                _learned(arrivals, fence, version, lease, work, more)
                announce("lori.arrival.learned", f"arrival.{arrival}", {"version": version})
                telling.say(f"learned as {work.arrival.sequence}/{version}")
            except FenceLost as lost:
                telling.say(str(lost))
                return _not_its_turn(lost)
            except TerminationSignal:
                return _stopped(arrivals, fence, lease, telling)
            except Exception as error:
                # Whatever it was, its row says so; a bug of ours goes on to Prefect's log.
                kills = oom_kills() - killed_before
                trouble = trouble_of(error, work.arrival.lost + 1, kills)
                state = _told(arrivals, fence, trouble, work.arrival.attempt, telling)
                if trouble.kind == "failed" and not isinstance(error, BadInput | CheckFailed):
                    raise
                return state
        return Completed(message=f"{work.arrival.sequence}/{version}", data=version)


def _learned(
    arrivals: Arrivals,
    fence: Fence,
    version: int,
    lease: Lease,
    work: Work,
    more: Following | None,
) -> None:
    """Say that the arrival is learned, and take what comes next where this process goes on."""
    goes_on = more is not None and more.may_go_on(arrivals, fence)
    if more is None or not goes_on:
        work.shop.close()  # before another process may have the turn
    lease.settle()
    if more is None or not goes_on:
        arrivals.learned(fence, version)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to be stopped
        return
    after = arrivals.learned_and_next(fence, version, _holder())
    signal.signal(signal.SIGTERM, more.leave)
    if after is None:
        work.shop.close()
    else:
        more.go_on_with(after)
        work.telling.say(f"goes on with arrival {after.id} ({after.task})")


def _told(
    arrivals: Arrivals, fence: Fence, trouble: Trouble, attempt: int, telling: Telling
) -> State[Any]:
    telling.say(f"{trouble.kind}: {trouble.reason}")
    try:
        if trouble.kind == "failed":
            arrivals.failed(fence, trouble.reason)
            _announce_failed(fence, trouble.reason)
            return Failed(message=trouble.reason)
        killed = trouble.kind == "again"
        arrivals.give_back(fence, trouble.reason, wait=wait_after(attempt), lost=killed)
    except FenceLost as lost:  # or it was learned, and only what came afterwards failed
        return _not_its_turn(lost)
    except Unavailable as away:
        telling.say(f"the arrival could not be given back, its lease runs out: {away}")
    return Cancelled(name="Given back", message=trouble.reason)


def _stopped(arrivals: Arrivals, fence: Fence, lease: Lease, telling: Telling) -> State[Any]:
    """SIGTERM: somebody cancelled, the arrival is not ours any more, or the worker leaves."""
    telling.say(f"stopped: {lease.ending or 'the worker leaves'}")
    if lease.ending == "lost":
        return Cancelled(name="Not its turn", message="the lease was over")
    try:
        if lease.ending == "late":
            arrivals.failed(fence, LATE)
            _announce_failed(fence, LATE)
            return Failed(message=LATE)
        if lease.ending == "cancelled" or _cancelled_in_prefect():
            arrivals.cancelled(fence, "cancelled while it ran; `lori retry` goes on from there")
            return Cancelled(message="cancelled by request")
        arrivals.give_back(fence, "its worker was stopped", wait=timedelta(0))
    except FenceLost as lost:
        return _not_its_turn(lost)
    except Unavailable as away:
        telling.say(f"the arrival could not be given back, its lease runs out: {away}")
    return Cancelled(name="Given back", message="the worker leaves")


def _most_seconds(arrival: Arrival) -> float | None:
    """What `resources.max_hours` of the task allows."""
    task = arrival.document.get("task")
    resources = task.get("resources") if isinstance(task, Mapping) else None
    hours = resources.get("max_hours") if isinstance(resources, Mapping) else None
    return None if hours is None else 3600.0 * float(hours)


def _announce_failed(fence: Fence, reason: str) -> None:
    announce("lori.arrival.failed", f"arrival.{fence.arrival}", {"reason": reason})


def _renew(arrivals: Arrivals, fence: Fence, telling: Telling) -> None:
    arrivals.renew(fence, telling.progress_now())


def _not_its_turn(lost: FenceLost) -> State[Any]:
    return Cancelled(name="Not its turn", message=str(lost))


def holder_name(pid: int) -> str:
    """What an arrival's row calls the process of this host that has it."""
    return f"{socket.gethostname()}:{pid}"


def _holder() -> str:
    return holder_name(os.getpid())


def _beat() -> Callable[[], None]:
    """What tells Prefect that this run lives, where its engine was told not to."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is not None:
        return lambda: None
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.name": run.name,
    }

    def beat() -> None:
        emit_event(event="prefect.flow-run.heartbeat", resource=resource)

    return beat


def _cancelled_in_prefect() -> bool:
    """Whether the run was cancelled in Prefect's UI; False where Prefect cannot say."""
    import httpx

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    with contextlib.suppress(httpx.HTTPError, RuntimeError), get_client(sync_client=True) as client:
        state = client.read_flow_run(context.flow_run.id).state
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False
