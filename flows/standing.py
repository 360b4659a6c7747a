"""Where a sequence stands: every task is learned, running, interrupted or waiting."""

from typing import TypedDict

from flows.prior_run import recorded
from flows.processes import ProcessIdentity
from flows.recorded import ALIASES
from registry.desks import Opened


class TaskStanding(TypedDict):
    """One task of a sequence."""

    task: str
    position: int
    state: str
    """`learned`, `running`, `interrupted` (run it again) or `waiting`."""
    stage: str | None
    """The stage it is in, or stopped in."""
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


def standing(here: Opened, name: str) -> Standing:
    """Where a sequence stands."""
    filed = {v.task: v for v in here.readers.versions(name) if v.state == "registered"}
    learner = _learner(here, name)
    last = {stage.task: stage for stage in here.readers.stages(name)}
    serves = {alias: here.desk.champion(name, alias) for alias in ALIASES}
    stale = here.desk.stale(name)
    tasks: list[TaskStanding] = []
    for task in here.readers.tasks(name):
        version, stage = filed.get(task.name), last.get(task.name)
        if version is not None:
            state = "learned"
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
                stage=None if version is not None or stage is None else stage.stage,
                version=None if version is None else version.version,
                certificate=None if version is None else version.certificate,
                aliases=[
                    alias
                    for alias, number in serves.items()
                    if version is not None and number == version.version
                ],
                stale=None if version is None else stale.get(version.version),
            )
        )
    return Standing(
        sequence=name,
        running=learner is not None,
        pid=None if learner is None else learner.pid,
        tasks=tasks,
        champion=serves["champion"],
        candidate=serves["candidate"],
        previous=serves["previous"],
    )


def _learner(here: Opened, name: str) -> ProcessIdentity | None:
    """The process that learns a sequence now; None where there is none on this machine."""
    if here.registry is None:
        return None
    processes = recorded(here.registry.settings.home / "runs" / f"{name}.json")
    return processes[0] if processes and processes[0].alive() else None
