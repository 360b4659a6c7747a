"""One run for each sequence, and nothing left of a run that was killed.

`HOME/runs/<sequence>.json` names the process that learns a sequence and what it started. A lock
beside it is freed by the kernel when that process dies, however it dies; who takes it next first
ends whatever of the record is still alive, by pid and start time, and only then goes on.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.processes import ProcessIdentity, end, myself
from lori_core.digests import write_json
from lori_core.errors import BadInput, Unavailable
from registry.home import open_lock, try_lock

ATTEMPT = "arrival"
"""What a record calls the process that learns an arrival, which a newer attempt may end."""

FREED_SECONDS = 10.0
"""What the kernel gets to free the lock of processes that were just killed."""


@dataclass
class RunRecord:
    """The processes of one run, on disk from the moment each is known."""

    path: Path
    processes: list[ProcessIdentity] = field(default_factory=list)

    @property
    def lock(self) -> Path:
        """Held as long as the run lives."""
        return self.path.with_suffix(".lock")

    def add(self, process: ProcessIdentity) -> None:
        """Remember a process before it does anything that matters."""
        self.processes.append(process)
        write_json(self.path, [each.as_json() for each in self.processes])


@contextmanager
def only_run(home: Path, sequence: str) -> Iterator[RunRecord]:
    """Hold a sequence for one run; end what a killed run left first.

    Raises:
        BadInput: another run is learning this sequence now.
    """
    record = _record(home, sequence)
    lock = open_lock(record.lock)
    try:
        if not try_lock(lock):
            raise BadInput(*_held(sequence, record))
        yield from _kept(record, "run")
    finally:
        os.close(lock)


@contextmanager
def only_attempt(home: Path, sequence: str, ours: Callable[[], None]) -> Iterator[RunRecord]:
    """As `only_run`, for one attempt at an arrival: an older attempt is ended if it still holds on.

    It may only be stopped (SIGSTOP) or deaf, and hold the lock as long as it is there.

    Args:
        home: whose sequence.
        sequence: to hold.
        ours: raises unless it is this attempt's turn; asked before another one is ended.

    Raises:
        Unavailable: `lori run` is learning this sequence now, or an attempt on another host holds it.
    """
    record = _record(home, sequence)
    lock = open_lock(record.lock)
    try:
        if not try_lock(lock):
            holders = recorded(record.path)
            ours()
            if holders and holders[0].what == ATTEMPT:
                end_leftovers(record.path)
            deadline = time.monotonic() + FREED_SECONDS
            while not try_lock(lock):
                if not (holders and holders[0].what == ATTEMPT) or time.monotonic() > deadline:
                    raise Unavailable(*_held(sequence, record))
                time.sleep(0.05)
        yield from _kept(record, ATTEMPT)
    finally:
        os.close(lock)


def end_leftovers(path: Path) -> list[ProcessIdentity]:
    """End every recorded process that is still alive and is not this one; return them."""
    mine = os.getpid()
    return [each for each in recorded(path) if each.pid != mine and end(each)]


def recorded(path: Path) -> list[ProcessIdentity]:
    """The processes a record names; none where there is no whole record."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    return [ProcessIdentity.from_json(row) for row in rows]


def _record(home: Path, sequence: str) -> RunRecord:
    return RunRecord(home / "runs" / f"{sequence}.json")


def _kept(record: RunRecord, what: str) -> Iterator[RunRecord]:
    """End what is left, then keep the record for as long as the run lasts."""
    end_leftovers(record.path)
    record.add(myself(what))
    yield record
    record.path.unlink(missing_ok=True)


def _held(sequence: str, record: RunRecord) -> tuple[str, str, str]:
    return (
        f"sequence {sequence!r}: process {_owner(record.path)} is learning it now",
        "one run of a sequence at a time",
        "Wait for it (`lori status`), or end it.",
    )


def _owner(path: Path) -> str:
    processes = recorded(path)
    return str(processes[0].pid) if processes else "?"
