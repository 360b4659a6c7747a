"""Which learned task answers for the one that is asked for: new versions of tasks, and retired ones."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from flows.plan import Plan
from flows.recorded import Named, Recorded
from lori_core.errors import BadInput
from registry.desks import acting, opened
from registry.store import open_registry, registry_exists
from registry.succession import serving


def served_at(found: Recorded, named: Named, task: str) -> tuple[int, int]:
    """The number of a named version and the position of the task that answers for `task` there.

    Asked by alias (`S@champion`), a task that was superseded is answered for by its newest version;
    asked by number, every task answers for itself.

    Raises:
        BadInput: there is no such version or task, it was learned later, or it is retired.
    """
    number, position = found.learned_at(named, task)
    answering = serving(found.tasks, task, number) if named.alias is not None else task
    refuse_retired(found, answering)
    return number, position if answering == task else found.position(answering)


def refuse_retired(found: Recorded, task: str) -> None:
    """Raise BadInput for a task that was taken out of service."""
    since = opened(found.registry, acting(found.registry)).desk.retired(found.name).get(task)
    if since is None:
        return
    newer = serving(found.tasks, task, len(found.versions))
    raise BadInput(
        f"task {task!r} of {found.name!r} is retired since {since.date().isoformat()}",
        "a task in service",
        f"Ask for {newer!r}, its newest version." if newer != task else "",
    )


def refuse_to_learn_retired(plan: Plan, home: Path, positions: Iterable[int]) -> None:
    """Raise BadInput where a task that is to be learned was taken out of service before it was."""
    if not home.is_dir() or not registry_exists(home):
        return
    with open_registry(home) as registry:
        if registry.find_sequence(plan.name) is None:
            return
        retired = opened(registry, acting(registry)).desk.retired(plan.name)
    refuse_retired_tasks(plan.name, retired, [plan.config.tasks[p - 1].name for p in positions])


def refuse_retired_tasks(
    sequence: str, retired: Mapping[str, datetime], tasks: Iterable[str]
) -> None:
    """Raise BadInput for the first of these tasks that was taken out of service."""
    for task in tasks:
        if task in retired:
            raise BadInput(
                f"task {task!r} of {sequence!r} is retired since "
                f"{retired[task].date().isoformat()}",
                "tasks in service",
                "Take it out of the file, or give its new version a name of its own.",
            )
