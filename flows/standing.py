"""Where a sequence stands: every task is learned, running, interrupted or waiting."""

from typing import TypedDict

from flows.prior_run import recorded
from registry.store import Registry


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


class Standing(TypedDict):
    """One sequence."""

    sequence: str
    running: bool
    """Whether a process is learning it now."""
    pid: int | None
    tasks: list[TaskStanding]


def standing(registry: Registry, name: str) -> Standing:
    """Where a sequence stands."""
    filed = {v.task: v for v in registry.versions(name) if v.state == "registered"}
    processes = recorded(registry.settings.home / "runs" / f"{name}.json")
    alive = bool(processes) and processes[0].alive()
    last = {stage.task: stage for stage in registry.stages(name)}
    tasks: list[TaskStanding] = []
    for task in registry.tasks(name):
        version, stage = filed.get(task.name), last.get(task.name)
        if version is not None:
            state = "learned"
        elif stage is None:
            state = "waiting"
        else:
            state = "running" if alive else "interrupted"
        tasks.append(
            TaskStanding(
                task=task.name,
                position=task.position,
                state=state,
                stage=None if version is not None or stage is None else stage.stage,
                version=None if version is None else version.version,
                certificate=None if version is None else version.certificate,
            )
        )
    pid = processes[0].pid if alive else None
    return Standing(sequence=name, running=alive, pid=pid, tasks=tasks)
