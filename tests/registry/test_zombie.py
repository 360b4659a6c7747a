"""Runs that are really stopped, filings that lose their turn amid MLflow, and locks of the stopped."""

import os
import shutil
import signal
import threading
import time
from datetime import timedelta
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from arrival_cases import end_wait, running, taken
from fence_cases import PAST
from registry_examples import declare, version_record, write_files
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lori_core.errors import Unavailable
from registry import database, doctor, fence
from registry.arrival_models import ArrivalRow
from registry.arrivals import Arrivals, Fence, FenceLost
from registry.store import Registry, open_registry

pytestmark = pytest.mark.slow


def _write_until_refused(home: Path, held: Fence, said: Connection) -> None:
    """A run that knows nothing of the world: it writes, and says how it went."""
    with open_registry(home) as registry:
        run = registry.fenced(held)
        for number in count():
            try:
                run.stage_started(f"k{number}", stage="train", sequence="s", task=None)
            except FenceLost as lost:
                said.send(str(lost))
                return
            said.send("written")
            time.sleep(0.01)


def test_a_run_that_is_stopped_past_its_lease_writes_nothing_when_it_goes_on(
    database_kind: str, home: Path
) -> None:
    with open_registry(home) as registry:
        arrivals = Arrivals(registry)
        held = running(arrivals)
        hears, says = get_context("spawn").Pipe(duplex=False)
        zombie = get_context("spawn").Process(target=_write_until_refused, args=(home, held, says))
        zombie.start()
        try:
            assert hears.recv() == "written"
            assert zombie.pid is not None
            newer = _take_over_from(zombie.pid, registry, held)
            written = len(registry.stages("s"))
            os.kill(zombie.pid, signal.SIGCONT)
            last = "written"
            while last == "written":
                last = hears.recv()
            assert "is no longer held by token 1: it is at token 3 (running)" in last
            zombie.join(30)
            assert zombie.exitcode == 0
        finally:
            zombie.kill()
        assert len(registry.stages("s")) == written
        arrivals.learned(newer, 1)


def _take_over_from(zombie: int, registry: Registry, held: Fence) -> Fence:
    """Stop a process between two of its writes; let its lease pass; give its arrival to another."""
    while True:
        os.kill(zombie, signal.SIGSTOP)
        time.sleep(0.05)
        if _nobody_writes(registry):
            break
        os.kill(zombie, signal.SIGCONT)
        time.sleep(0.02)
    with registry._database.writing() as session:
        _end_lease(session, held)
    Arrivals(registry).expire()
    end_wait(registry, held.arrival)
    return taken(Arrivals(registry), held.arrival, "host-2")


def _nobody_writes(registry: Registry) -> bool:
    """Whether a write comes through at once: a process that is stopped amid one holds up all."""
    done = threading.Event()

    def write() -> None:
        with registry._database.writing():
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    done.wait(1)
    free = done.is_set()
    if free:
        thread.join()
    return free


def _end_lease(session: Session, held: Fence) -> None:
    session.execute(
        update(ArrivalRow).where(ArrivalRow.id == held.arrival).values(lease_until=PAST)
    )


def test_a_filing_that_loses_its_turn_at_any_write_to_mlflow_is_filed_once_by_the_next_ones(
    home: Path, mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mlflow_store, home)
    files = write_files(tmp_path / "files")
    check, asked = fence.check, [0, 0]

    def lose(session: Session, held: Fence) -> None:
        asked[0] += 1
        if asked[0] >= asked[1]:
            _end_lease(session, held)
        check(session, held)

    with open_registry(home) as registry:
        declare(registry)
        arrivals = Arrivals(registry)
        held = running(arrivals)
        monkeypatch.setattr(fence, "check", lose)
        for losing_at in count(1):
            asked[:] = [0, losing_at]
            try:
                registry.fenced(held).file_version(version_record(1), files)
            except FenceLost:
                arrivals.give_back(held, "again", wait=timedelta(0))
                held = taken(arrivals, held.arrival)
                continue
            break
        assert losing_at > 10
        assert [each.state for each in registry.versions("assistant")] == ["registered"]
        stored = registry.stockroom().inventory("lori-assistant")
        assert len(stored.versions) == 1
        assert [run.ended for run in stored.runs] == [True]
        assert sum(upload.ready for upload in stored.uploads.values()) == 1
        assert doctor.examine(registry) == ()


def test_who_stops_amid_a_write_does_not_hold_up_a_postgresql_server(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "IDLE_SECONDS", 1)
    with (
        open_registry(home) as stopped,
        open_registry(home) as other,
        pytest.raises(Unavailable, match="idle-in-transaction"),
    ):
        _write_while_stopped(stopped, other)


def _write_while_stopped(stopped: Registry, other: Registry) -> None:
    with stopped._database.writing() as session:
        session.execute(select(1))
        began = time.monotonic()
        declare(other)
        assert 0.5 < time.monotonic() - began < 10
        session.execute(select(1))


def test_the_next_attempt_frees_the_locks_of_one_that_is_stopped_on_a_postgresql_server(
    url: str, home: Path
) -> None:
    with open_registry(home) as registry, open_registry(home) as elsewhere:
        arrivals = Arrivals(registry)
        older = running(arrivals)
        inside, gone = threading.Event(), threading.Event()
        ended: list[BaseException] = []

        def hold() -> None:
            try:
                with registry.fenced(older)._database.exclusive("file-assistant"):
                    inside.set()
                    gone.wait(30)
            except Unavailable as error:
                ended.append(error)

        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(30)
        arrivals.give_back(older, "again", wait=timedelta(0))
        newer = taken(Arrivals(elsewhere), older.arrival)
        with elsewhere.fenced(newer)._database.exclusive("file-assistant"):
            pass
        gone.set()
        thread.join(30)
        assert len(ended) == 1
