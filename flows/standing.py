"""Where a sequence stands: every task is learned, running, interrupted, waiting or failed."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from flows.prior_run import recorded
from flows.processes import ProcessIdentity
from registry.arrival_records import OPEN
from registry.clock import now
from registry.desks import Opened
from registry.named import ALIASES
from registry.queue_standing import QueueItem, QueueStanding, queue_standing
from registry.records import StageRun

RECENT = 50
"""Arrivals that are looked at for sequences of which nothing is learned and nothing waits."""


class TaskStanding(TypedDict):
    """One task of a sequence."""

    task: str
    position: int
    state: str
    """`learned`, `dispatched` (its turn: no worker has taken it up yet), `running`, `interrupted` (run
    it again), `waiting`, `failed` (see its arrival), or `cancelled`."""
    silent_seconds: float | None
    """How long it runs without a sign of life, once one was missed."""
    stage: str | None
    """The stage it is in, or stopped in."""
    arrival: int | None
    """Its number in the queue; None where it is not in it."""
    version: int | None
    certificate: str | None
    aliases: list[str]
    """What its version serves as: `champion`, `candidate`, `previous`."""
    stale: str | None
    """Why its version stands on one that was rolled back; None where it does not."""


class Standing(TypedDict):
    """One sequence."""

    sequence: str
    running: bool
    """Whether a process is learning it now."""
    pid: int | None
    tasks: list[TaskStanding]
    champion: int | None
    """The version that serves; 0 is the bare base, None nothing."""
    candidate: int | None
    previous: int | None
    queue: QueueStanding


def known_sequences(here: Opened) -> tuple[str, ...]:
    """Every sequence that was declared, that something waits for, or that something came for of late."""
    there = (*here.queue.arrivals(states=OPEN), *here.queue.arrivals(last=RECENT))
    return tuple(sorted({*here.readers.sequences(), *(each.sequence for each in there)}))


def standing(here: Opened, name: str) -> Standing:
    """Where a sequence stands.

    Raises:
        NotFound: nothing was ever learned of it or waits for it.
    """
    queue = queue_standing(here.queue, name, now())
    came = queue["items"] or queue["history"]
    declared = not came or name in here.readers.sequences()  # neither of both: told as not found
    learner = _learner(here, name)
    cancelled = {item["task"]: item for item in queue["history"] if item["state"] == "cancelled"}
    tasks = _declared_tasks(here, name, learner, cancelled) if declared else []
    tasks = _with_queue(tasks, queue["items"])
    serves = {alias: here.desk.champion(name, alias) if declared else None for alias in ALIASES}
    for task in tasks:
        task["aliases"] = [
            alias
            for alias in ALIASES
            if serves[alias] is not None and serves[alias] == task["version"]
        ]
    return Standing(
        sequence=name,
        running=learner is not None or any(each["state"] == "running" for each in queue["items"]),
        pid=None if learner is None else learner.pid,
        tasks=tasks,
        champion=serves["champion"],
        candidate=serves["candidate"],
        previous=serves["previous"],
        queue=queue,
    )


def _declared_tasks(
    here: Opened,
    name: str,
    learner: ProcessIdentity | None,
    cancelled: Mapping[str, QueueItem],
) -> list[TaskStanding]:
    filed = {v.task: v for v in here.readers.versions(name) if v.state == "registered"}
    last = {stage.task: stage for stage in here.readers.stages(name)}
    stale = here.desk.stale(name)
    tasks: list[TaskStanding] = []
    for task in here.readers.tasks(name):
        version, stage = filed.get(task.name), last.get(task.name)
        if version is not None:
            state = "learned"
        elif _is_cancelled(stage, cancelled.get(task.name)):
            state = "cancelled"
        elif stage is None:
            state = "waiting"
        else:
            away = here.registry is None and stage.state == "running"  # no process of ours to see
            state = "running" if learner is not None or away else "interrupted"
        tasks.append(
            TaskStanding(
                task=task.name,
                position=task.position,
                state=state,
                silent_seconds=None,
                stage=None if version is not None or stage is None else stage.stage,
                arrival=cancelled[task.name]["arrival"] if state == "cancelled" else None,
                version=None if version is None else version.version,
                certificate=None if version is None else version.certificate,
                aliases=[],
                stale=None if version is None else stale.get(version.version),
            )
        )
    return tasks


def _is_cancelled(stage: StageRun | None, arrival: QueueItem | None) -> bool:
    """Whether the last that is known of a task is that it was cancelled."""
    if arrival is None or arrival["finished"] is None:
        return False
    return stage is None or stage.started <= datetime.fromisoformat(arrival["finished"])


def _with_queue(tasks: list[TaskStanding], items: list[QueueItem]) -> list[TaskStanding]:
    """The tasks as the queue knows them, and those that wait and are not declared yet, after them."""
    known = {task["task"]: task for task in tasks}
    for item in items:
        task = known.get(item["task"])
        if task is None:
            task = TaskStanding(
                task=item["task"],
                position=len(tasks) + 1,
                state="",
                silent_seconds=None,
                stage=None,
                arrival=None,
                version=None,
                certificate=None,
                aliases=[],
                stale=None,
            )
            tasks.append(task)
        task["arrival"] = item["arrival"]
        if task["version"] is not None:
            continue  # filed a moment ago
        task["state"], task["silent_seconds"] = item["state"], item["silent_seconds"]
        if item["progress"] is not None:
            task["stage"] = item["progress"]["stage"]
    return tasks


def _learner(here: Opened, name: str) -> ProcessIdentity | None:
    """The process that learns a sequence now; None where there is none on this machine."""
    if here.registry is None:
        return None
    processes = recorded(here.registry.settings.home / "runs" / f"{name}.json")
    return processes[0] if processes and processes[0].alive() else None
