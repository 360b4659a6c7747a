"""One run for each sequence, and nothing left of a run that was killed.

`HOME/runs/<sequence>.json` names the process that learns a sequence and what it started. A lock
beside it is freed by the kernel when that process dies, however it dies; who takes it next first
ends whatever of the record is still alive, by pid and start time, and only then goes on.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.processes import ProcessIdentity, end, myself
from lori_core.digests import write_json
from lori_core.errors import BadInput
from registry.home import writable


@dataclass
class RunRecord:
    """The processes of one run, on disk from the moment each is known."""

    path: Path
    processes: list[ProcessIdentity] = field(default_factory=list)

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
    folder = home / "runs"
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / f"{sequence}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    record = RunRecord(folder / f"{sequence}.json")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise BadInput(
                f"sequence {sequence!r}: process {_owner(record.path)} is learning it now",
                "one run of a sequence at a time",
                "Wait for it (`lori status`), or end it.",
            ) from held
        end_leftovers(record.path)
        record.add(myself("run"))
        yield record
        record.path.unlink(missing_ok=True)
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
    return [ProcessIdentity(row["what"], row["pid"], row["started"]) for row in rows]


def _owner(path: Path) -> str:
    processes = recorded(path)
    return str(processes[0].pid) if processes else "?"
