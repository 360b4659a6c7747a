"""Processes by pid *and* start time, so that a pid that was given away again is never mistaken."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

SAME_START = 0.05
"""Seconds two readings of one process's start time may differ by (the boot time is re-read)."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for as long as the machine is up."""

    what: str
    """What it is for, e.g. `stages`."""

    pid: int

    started: float
    """Its own start time, in seconds since the epoch."""

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            started: float = process.create_time()
            dead: bool = process.status() == psutil.STATUS_ZOMBIE
            return abs(started - self.started) <= SAME_START and not dead
        except psutil.NoSuchProcess:
            return False

    def as_json(self) -> dict[str, object]:
        """Plain data for the run's record."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "ProcessIdentity":
        """What `as_json` gave, whatever else was put beside it."""
        return cls(record["what"], record["pid"], record["started"])


def identify(pid: int, what: str) -> ProcessIdentity:
    """The identity of a running process.

    Raises:
        psutil.NoSuchProcess: it ended already.
    """
    return ProcessIdentity(what, pid, psutil.Process(pid).create_time())


def myself(what: str) -> ProcessIdentity:
    """The identity of this process."""
    return identify(os.getpid(), what)


def end(process: ProcessIdentity, *, grace: float = 0.0) -> bool:
    """End a process and all it started: SIGTERM and `grace` seconds where asked, then SIGKILL.

    Returns whether there was anything to end. Waits until it is gone.
    """
    head = _found(process)
    if head is None:
        return False
    family = [head, *_children(head)]
    if grace > 0:
        _signal(family[0], signal.SIGTERM)
        psutil.wait_procs(family[:1], timeout=grace)
    for member in family:
        _signal(member, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    return True


def end_together(processes: Sequence[ProcessIdentity], *, grace: float) -> None:
    """End several processes and all they started: SIGTERM to each, `grace` seconds, then SIGKILL."""
    heads = [head for head in map(_found, processes) if head is not None]
    family = [*heads]
    for head in heads:
        family += _children(head)
    for head in heads:
        _signal(head, signal.SIGTERM)
    psutil.wait_procs(heads, timeout=grace)
    for head in heads:
        family += _children(head)  # what was started meanwhile by one that does not listen
    for member in family:
        _signal(member, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)


def _found(process: ProcessIdentity) -> psutil.Process | None:
    """The process while it lives: somebody else may reap it at any moment."""
    try:
        return psutil.Process(process.pid) if process.alive() else None
    except psutil.NoSuchProcess:
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
