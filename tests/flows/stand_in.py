"""The stand-in for training: a child that takes a tenth of a second and records what it saw.

    python -m tests.flows.stand_in worker NAME     a worker whose runs use the stand-in
    python -m tests.flows.stand_in trainer NAME    a worker that really trains, under the same short lease
    python -m tests.flows.stand_in broken NAME     a worker whose dispatcher has a bug

Everything else is real: rows, leases, Prefect's server, workers, flow processes, the bound child.
`HOME/seen/SEQUENCE.jsonl` has a line for each beginning and each end of a child, and `overlap` where
one found another at work in the same sequence.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from prefect import flow
from prefect.client.schemas.objects import State

from flows.bound import bound_command
from flows.habits import Habits
from flows.lease import Pace
from flows.working import Work, work_on
from lori_core.digests import sha256_json, write_json
from lori_core.errors import LoriError
from registry.arrival_records import Arrival, NewTask
from registry.arrivals import Arrivals
from registry.fence import Fence
from registry.records import SequenceRecord
from registry.store import Registry
from registry.submissions import Submissions

LEASE = 20.0
CHILD = """
import fcntl, json, os, sys, time
seen, arrival, token, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
lock = open(seen + ".lock", "w")
def say(what):
    with open(seen, "a") as file:
        file.write(json.dumps({"what": what, "arrival": arrival, "token": token}) + "\\n")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    say("overlap")
    sys.exit(3)
say("begin")
time.sleep(seconds)
say("end")
"""


def pace() -> Pace:
    """Short, so that what a kill leaves is found within seconds."""
    return Pace(lease=LEASE, renew=LEASE / 4, look=0.5)


@flow(name="learn-arrival", validate_parameters=False)
def learn_stand_in(arrival: int, token: int) -> State[Any]:
    """As `flows.learn_arrival`, with the child below for the training."""
    return work_on(arrival, token, run_child, pace=pace())


@flow(name="learn-arrival", validate_parameters=False)
def learn_soon(arrival: int, token: int) -> State[Any]:
    """As `flows.learn_arrival`, under a short lease."""
    from flows.learn_arrival import learn_one

    return work_on(arrival, token, learn_one, pace=pace())


def run_child(work: Work) -> int:
    """Have the child record the arrival; the version is how many were learned before, and one."""
    asleep = work.home / f"asleep-{work.arrival.id}"  # the first attempt may never get this far
    if work.arrival.document.get("then") == "sleep" and not asleep.exists():
        sleep_and_write(work, asleep)
    seen = work.home / "seen"
    seen.mkdir(exist_ok=True)
    arrival = work.arrival
    key = f"stand-in-{arrival.id}"
    work.registry.stage_started(key, stage="train", sequence=arrival.sequence, task=arrival.task)
    child = subprocess.run(
        bound_command(
            *(sys.executable, "-I", "-S", "-c", CHILD),
            *(str(seen / f"{arrival.sequence}.jsonl"), str(arrival.id), str(arrival.token)),
            str(arrival.document.get("seconds", 0.1)),
        ),
        check=False,
    )
    if child.returncode != 0:
        raise RuntimeError(f"the child ended with {child.returncode}")
    work.registry.stage_finished(key)
    before = Arrivals(work.registry).arrivals(arrival.sequence, states=["learned"])
    return 1 + len(before)


def sleep_and_write(work: Work, asleep: Path) -> None:
    """Wait to be stopped for longer than the lease; then try every kind of write, and say how it went.

    `asleep` will hold this process's id.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the lease's thread would spare us the trouble
    arrival, registry = work.arrival, work.registry
    fence = Fence(arrival=arrival.id, token=arrival.token)
    arrivals = Arrivals(registry)
    write_json(asleep, os.getpid())
    while arrivals.arrival(arrival.id).token == arrival.token:
        time.sleep(0.2)
    sequence = SequenceRecord(
        name="alpha", base_digest="0" * 64, base_path="/nowhere", adapter={}, settings={}, tasks=()
    )
    writes: dict[str, Callable[[], object]] = {
        "stage_started": lambda: registry.stage_started(
            "late", stage="train", sequence="alpha", task="task-1"
        ),
        "stage_finished": lambda: registry.stage_finished(f"stand-in-{arrival.id}"),
        "declare_sequence": lambda: registry.declare_sequence(sequence),
        "record_export": lambda: registry.record_export(
            "alpha", 1, "task-1", "inherited", "0" * 64
        ),
        "set_alias": lambda: registry.aliases().set_alias("lori-alpha", "champion", 1),
        "renew": lambda: arrivals.renew(fence, {}),
        "learned": lambda: arrivals.learned(fence, 99),
        "failed": lambda: arrivals.failed(fence, "late"),
        "cancelled": lambda: arrivals.cancelled(fence, "late"),
        "give_back": lambda: arrivals.give_back(fence, "late", wait=timedelta(0)),
        "take": lambda: arrivals.take(arrival.id, arrival.token, "late"),
    }
    said = {name: _how(write) for name, write in writes.items()}
    write_json(work.home / f"woke-{arrival.id}.json", said)
    arrivals.learned(fence, 99)  # and this ends the run as any write would


def _how(write: Callable[[], object]) -> str:
    try:
        write()
    except LoriError as error:
        return type(error).__name__
    return "written"


def send(
    registry: Registry,
    sequence: str,
    number: int,
    *,
    seconds: float = 0.1,
    then: str = "end",
    hours: float | None = None,
) -> Arrival:
    """Put one stand-in task into the queue of a sequence."""
    task_settings = {"resources": {"max_hours": hours}}
    submissions = Submissions(registry)
    sent = submissions.receive({}, source="api", folder=None, submitted_by="tests")
    task = NewTask(
        sequence=sequence,
        task=f"task-{number}",
        document={"seconds": seconds, "then": then, "task": task_settings},
        content=sha256_json([sequence, number]),
        data={},
        queue="cpu",
    )
    [outcome] = submissions.accept(sent.id, [task], {}).outcome
    assert outcome.arrival is not None
    return Arrivals(registry).arrival(outcome.arrival)


@dataclass(frozen=True)
class Seen:
    """What the children of one sequence recorded, in the order they did."""

    begun: list[int]
    ended: list[int]
    overlaps: int


def seen(home: Path, sequence: str) -> Seen:
    path = home / "seen" / f"{sequence}.jsonl"
    said = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return Seen(
        begun=[each["arrival"] for each in said if each["what"] == "begin"],
        ended=[each["arrival"] for each in said if each["what"] == "end"],
        overlaps=sum(each["what"] == "overlap" for each in said),
    )


FLOWS = {
    "worker": "tests.flows.stand_in.learn_stand_in",
    "broken": "tests.flows.stand_in.learn_stand_in",
    "trainer": "tests.flows.stand_in.learn_soon",
}


def main() -> None:
    kind, name = sys.argv[1:]
    from flows.worker_start import start_worker

    if kind == "broken":
        from flows.dispatcher import Dispatcher

        def bug(*_: object) -> NoReturn:
            raise ZeroDivisionError("a bug of ours")

        Dispatcher.tick = bug  # type: ignore[method-assign]
    habits = Habits(look=1.0, patience=timedelta(seconds=LEASE), learn_arrival=FLOWS[kind])
    limit = int(os.environ.get("STAND_IN_LIMIT", "2"))
    start_worker(gpus=None, limit=limit, name=name, habits=habits)


if __name__ == "__main__":
    main()
