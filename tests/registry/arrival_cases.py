"""Submissions and arrivals for the tests of the queue."""

import os
import time
from pathlib import Path

from sqlalchemy import text

from lori_core.digests import sha256_json
from registry.arrivals import Arrivals, Fence, FenceLost, NewTask, Submission
from registry.store import Registry, open_registry


def new_task(name: str, sequence: str = "assistant", content: object = None) -> NewTask:
    """A task whose content is its name's, unless another is given."""
    return NewTask(
        sequence=sequence,
        task=name,
        document={"task": {"name": name}},
        content=sha256_json([sequence, content or name]),
        data={"train": sha256_json("rows")},
        queue="cpu",
    )


def send(arrivals: Arrivals, *tasks: NewTask, priority: int = 0, again: bool = False) -> Submission:
    """A submission received and accepted."""
    received = arrivals.receive(
        {"tasks": [task.task for task in tasks]},
        source="command",
        folder="/files",
        priority=priority,
        again=again,
        submitted_by="ann",
    )
    return arrivals.accept(received.id, tasks, {})


def arrive(
    arrivals: Arrivals, *names: str, sequence: str = "assistant", priority: int = 0
) -> list[int]:
    """The ids of new arrivals, one for each name."""
    sent = send(arrivals, *(new_task(name, sequence) for name in names), priority=priority)
    return [each.arrival for each in sent.outcome if each.arrival is not None]


def running(arrivals: Arrivals, *names: str) -> Fence:
    """The first of these new arrivals, given out and taken."""
    wanted = arrive(arrivals, *(names or ("safety",)))[0]
    return taken(arrivals, wanted)


def taken(arrivals: Arrivals, arrival_id: int, holder: str = "host-1") -> Fence:
    """Give out what is due and take one."""
    arrivals.dispatch()
    return arrivals.take(arrival_id, arrivals.arrival(arrival_id).token, holder)


def end_lease(registry: Registry, arrival_id: int) -> None:
    """What a minute of silence does."""
    _set(registry, arrival_id, "lease_until = '2026-01-01 00:00:00+00:00'")


def end_wait(registry: Registry, arrival_id: int) -> None:
    """What waiting long enough does."""
    _set(registry, arrival_id, "not_before = '2026-01-01 00:00:00+00:00'")


def _set(registry: Registry, arrival_id: int, assignment: str) -> None:
    if registry._database.is_sqlite:
        assignment = assignment.replace("+00:00", ".000000")
    with registry._database.engine.begin() as connection:
        connection.execute(
            text(f"UPDATE arrivals SET {assignment} WHERE id = :id"), {"id": arrival_id}
        )


def work_until_done(home: Path, log: Path, name: str) -> None:
    """Dispatch and learn whatever there is, as one of many processes; each turn leaves two lines."""
    with open_registry(home) as registry:
        arrivals = Arrivals(registry)
        while unlearned := arrivals.arrivals(states=["waiting", "dispatched", "running"]):
            for arrival in unlearned:
                if arrival.state != "dispatched":
                    arrivals.dispatch()
                    continue
                try:
                    fence = arrivals.take(arrival.id, arrival.token, name)
                except FenceLost:
                    continue
                _tell(log, f"{arrival.sequence} begin {arrival.id} {name}")
                time.sleep(0.005)
                _tell(log, f"{arrival.sequence} end {arrival.id} {name}")
                arrivals.learned(fence, version=arrival.id)


def _tell(log: Path, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())  # one write: whole lines, in the order they happened
    os.close(descriptor)
