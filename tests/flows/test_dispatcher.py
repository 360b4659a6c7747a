"""What one look of the dispatcher does to submissions; its runs are in test_dispatch.py."""

import errno
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from unittest.mock import NonCallableMock
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Cancelling, Pending

from flows.dispatcher import Dispatcher, Tick
from flows.following import run_key
from flows.habits import Habits
from flows.pools import POOL
from flows.snapshots import keep_rows
from flows.submitted_file import file_document
from lori_core.config import TaskConfig
from registry.arrival_records import Submission
from registry.store import Registry, open_registry
from tests.flows.arriving_cases import Desk, know_base
from tests.flows.crew import wait_until
from tests.registry.arrival_cases import arrive, end_lease, taken


def test_a_dispatch_has_one_key_and_a_restored_registry_other_ones(tmp_path: Path) -> None:
    keys = []
    for name in ("before", "restored"):
        (tmp_path / name).mkdir()
        with open_registry(tmp_path / name / ".lori") as registry:
            desk = Desk(tmp_path / name, registry)
            know_base(desk)
            desk.send(desk.file("color"))
            [given], [again] = desk.arrivals.dispatch(), desk.arrivals.dispatch()
            assert (given.id, given.token) == (1, 1)
            assert run_key(given) == run_key(again)
            keys.append(run_key(given))
    assert keys[0] != keys[1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_registry(tmp_path / ".lori") as registry:
        found = Desk(tmp_path, registry)
        know_base(found)
        yield found


def test_a_submission_that_has_to_wait_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(task: TaskConfig, digests: Mapping[str, str], folder: Path) -> dict[str, str]:
        if task.name == "color":
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep_rows(task, digests, folder)

    for name in ("color", "size"):
        desk.arrivals.hold_sequence(name, "so that nothing is sent to Prefect", "tests")
        document = file_document(desk.file(name, name=name))
        desk.arrivals.receive(
            document, source="schedule", folder=str(desk.folder), submitted_by="tests"
        )
    prefect = NonCallableMock(spec=())  # nothing is asked of it
    dispatcher = Dispatcher(desk.registry, desk.home, Habits())
    assert dispatcher.pressing()
    clock = [1000.0]
    with monkeypatch.context() as now:
        now.setattr("flows.arriving.keep_rows", keep)
        now.setattr("flows.preparing.monotonic", lambda: clock[0])
        assert dispatcher.tick(prefect).prepared == (2,)
        assert [each.id for each in desk.arrivals.received()] == [1]
        assert not dispatcher.pressing(), "it is looked at again in its time"
        assert dispatcher.tick(prefect).prepared == ()
        clock[0] += 5
        assert dispatcher.pressing()
        assert dispatcher.tick(prefect).prepared == ()
        clock[0] += 5
        assert not dispatcher.pressing(), "the second wait is longer"
    document = file_document(desk.file("depth", name="depth"))
    desk.arrivals.hold_sequence("depth", "so that nothing is sent to Prefect", "tests")
    desk.arrivals.receive(
        document, source="schedule", folder=str(desk.folder), submitted_by="tests"
    )
    clock[0] += 5
    monkeypatch.setattr("flows.preparing.monotonic", lambda: clock[0])
    assert dispatcher.tick(prefect).prepared == (3, 1), "what was put off comes last"
    assert [each.task for each in desk.arrivals.arrivals()] == ["size", "depth", "color"]


def test_a_submission_that_takes_minutes_delays_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(registry: Registry, home: Path, submission: Submission) -> Submission:
        assert go_on.wait(60)
        return desk.arrivals.refuse(submission.id, "read")

    monkeypatch.setattr("flows.preparing.prepare", slow)
    monkeypatch.setattr("flows.preparing.BUDGET", 0.1)
    desk.arrivals.receive({}, source="api", folder=None, submitted_by="tests")
    [silent] = arrive(desk.arrivals, "color")
    taken(desk.arrivals, silent)
    end_lease(desk.registry, silent)
    prefect = NonCallableMock(spec=())
    with closing(Dispatcher(desk.registry, desk.home, Habits())) as dispatcher:
        began = time.monotonic()
        assert dispatcher.tick(prefect) == Tick(prepared=(), expired=(silent,), lost=(), sent=())
        assert dispatcher.tick(prefect).prepared == ()
        assert time.monotonic() - began < 2
        assert not dispatcher.pressing(), "nothing new came"
        go_on.set()
        wait_until(dispatcher.pressing, 10)
        assert dispatcher.tick(prefect).prepared == (1,)


class OnePrefect:
    """A server that knows one flow run, as a test says."""

    def __init__(self, run: FlowRun) -> None:
        self.run = run

    def read_flow_runs(self, **_: object) -> list[FlowRun]:
        return [self.run]

    def set_flow_run_state(self, run: UUID, state: State, *, force: bool) -> None:
        assert (run, force) == (self.run.id, True)
        self.run.state = state


def one_run(desk: Desk, state: State) -> tuple[SyncPrefectClient, int]:
    """An arrival that was given out, and whose flow run is in this state."""
    [wanted] = arrive(desk.arrivals, "color")
    desk.arrivals.dispatch()
    run = FlowRun(flow_id=uuid4(), state=state, work_pool_name=POOL)
    desk.arrivals.note_flow_run(wanted, 1, str(run.id))
    return cast(SyncPrefectClient, OnePrefect(run)), wanted


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_run_that_takes_nothing_up_is_given_up_after_a_while_whatever_prefect_s_clock_says(
    desk: Desk, hours: int
) -> None:
    there = datetime.now(UTC) + timedelta(hours=hours)
    prefect, wanted = one_run(desk, Pending(timestamp=there))
    dispatcher = Dispatcher(desk.registry, desk.home, Habits(patience=timedelta(seconds=0.3)))
    assert dispatcher.tick(prefect).lost == ()
    time.sleep(0.3)
    assert dispatcher.tick(prefect).lost == (wanted,)
    assert desk.arrivals.arrival(wanted).state == "waiting"


@pytest.mark.parametrize("state", [Cancelled(), Cancelling()], ids=["cancelled", "cancelling"])
@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
def test_cancelling_a_run_in_prefect_cancels_its_arrival(
    desk: Desk, state: State, begun: bool
) -> None:
    prefect, wanted = one_run(desk, state)
    fence = desk.arrivals.take(wanted, 1, "host-1") if begun else None
    Dispatcher(desk.registry, desk.home, Habits()).tick(prefect)
    if fence is not None and state.is_cancelling():  # its process is still about to leave
        assert desk.arrivals.cancel_requested(fence)
        desk.arrivals.give_back(fence, "its worker was stopped", wait=timedelta(0))
    ended = desk.arrivals.arrival(wanted)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by Prefect")


def test_a_run_that_says_it_was_given_back_was_not_cancelled_by_anybody(desk: Desk) -> None:
    prefect, wanted = one_run(desk, Cancelled(name="Given back"))
    assert Dispatcher(desk.registry, desk.home, Habits()).tick(prefect).lost == (wanted,)
    assert desk.arrivals.arrival(wanted).state == "waiting"
