"""How a lease ends a run that will not stop, and one whose lease nobody can keep; its runs are in test_cancel.py."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.lease import GONE, LATE, Lease, Pace
from lori_core.errors import Unavailable
from registry.arrivals import Arrivals, Fence
from registry.store import open_registry
from tests.registry.arrival_cases import running

NOBODY_CATCHES = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Child:
    """A child of the run, which may be gone by the time it is killed."""

    def __init__(self, gone: bool) -> None:
        self.gone, self.killed = gone, False

    def kill(self) -> None:
        if self.gone:
            raise psutil.NoSuchProcess(7)
        self.killed = True


class Run:
    """A run in this process that hears no signal; what it would do to the process is noted."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children = [Child(gone=True), Child(gone=False)]
        self.signals: list[int] = []
        self.exits: list[int] = []
        self.said: list[str] = []
        self.exited = threading.Event()
        self.home = home
        monkeypatch.setattr("flows.lease.GRACE", 0.2)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.signals.append(number))
        monkeypatch.setattr(os, "_exit", self._exit)
        monkeypatch.setattr(psutil.Process, "children", lambda process, recursive: self.children)

    def _exit(self, code: int) -> None:
        self.exits.append(code)
        self.exited.set()

    def hang(
        self,
        arrivals: Arrivals,
        fence: Fence,
        *,
        most: float | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> Lease:
        """Hang under a lease until the process would have ended."""
        lease = Lease(
            arrivals,
            fence,
            progress=dict,
            beat=beat,
            say=self.said.append,
            pace=Pace(look=0.01),
            most=most,
        )
        with lease:
            assert self.exited.wait(20)
            lease._thread.join(20)  # a real end would not wait for it
        assert (self.signals, set(self.exits)) == ([signal.SIGTERM], {GONE})
        return lease


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_a_run_that_is_late_and_hangs_fails_and_all_it_started_ends(run: Run) -> None:
    with open_registry(run.home) as registry:
        arrivals = Arrivals(registry)
        fence = running(arrivals)
        run.hang(arrivals, fence, most=0.0)
        ended = arrivals.arrival(fence.arrival)
    assert (ended.state, ended.reason) == ("failed", LATE)
    assert [each.killed for each in run.children] == [False, True]


def test_a_run_that_is_cancelled_and_hangs_is_cancelled_by_who_asked(run: Run) -> None:
    with open_registry(run.home) as registry:
        arrivals = Arrivals(registry)
        fence = running(arrivals)
        arrivals.cancel(fence.arrival, "ann")
        run.hang(arrivals, fence)
        ended = arrivals.arrival(fence.arrival)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by ann")


@pytest.mark.parametrize("answer", ["refuses", "hangs"])
def test_a_store_that_is_away_keeps_no_hung_run_alive(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    def away(self: Arrivals, fence: Fence, reason: str) -> None:
        if answer == "hangs":
            assert run.exited.wait(20)
        raise Unavailable("the store", "one that answers")

    monkeypatch.setattr(Arrivals, "cancelled", away)
    with open_registry(run.home) as registry:
        arrivals = Arrivals(registry)
        fence = running(arrivals)
        arrivals.cancel(fence.arrival, "ann")
        lease = run.hang(arrivals, fence)
    assert lease.ending == "cancelled"
    assert run.children[1].killed
    assert "the store" in run.said[-1]


@NOBODY_CATCHES
def test_a_lease_that_cannot_be_kept_for_a_fault_of_ours_is_lost_and_says_why(run: Run) -> None:
    def beat() -> None:
        raise ZeroDivisionError("a bug of ours")

    with open_registry(run.home) as registry:
        arrivals = Arrivals(registry)
        lease = run.hang(arrivals, running(arrivals), beat=beat)
    assert lease.ending == "lost"
    assert "Traceback" in run.said[0]
    assert "ZeroDivisionError: a bug of ours" in run.said[0]
